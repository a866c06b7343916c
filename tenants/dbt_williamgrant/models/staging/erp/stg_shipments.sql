-- depends_on: {{ ref('raw_shipments') }}

with

source as (

    select * from {{ source('erp', 'shipments') }}

),

final as (

    select
        shipment_line_id,
        order_number,
        distributor_id,
        sku_id,
        shipped_on,
        {{ month_of('shipped_on') }} as shipment_month,
        cases,
        currency_code,
        net_price_per_case
    from source
    where shipped_on <= {{ as_of_date() }}

)

select * from final
