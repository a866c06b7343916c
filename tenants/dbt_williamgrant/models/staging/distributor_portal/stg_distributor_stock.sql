-- depends_on: {{ ref('raw_distributor_stock') }}

with

source as (

    select * from {{ source('distributor_portal', 'distributor_stock') }}

),

final as (

    select
        {{ surrogate_key(['distributor_id', 'sku_id', 'stock_month']) }} as stock_key,
        distributor_id,
        sku_id,
        stock_month,
        counted_on,
        cases_on_hand
    from source
    where counted_on <= {{ as_of_date() }}

)

select * from final
