-- depends_on: {{ ref('raw_bottlings') }}

with

source as (

    select * from {{ source('warehouse_ledger', 'bottlings') }}

),

final as (

    select
        bottling_id,
        sku_id,
        bottled_on,
        bottling_line,
        cases_produced
    from source
    where bottled_on <= {{ as_of_date() }}

)

select * from final
