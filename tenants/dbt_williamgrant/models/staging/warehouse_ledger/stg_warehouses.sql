-- depends_on: {{ ref('raw_warehouses') }}

with

source as (

    select * from {{ source('warehouse_ledger', 'warehouses') }}

),

final as (

    select
        warehouse_id,
        warehouse_name,
        storage_style,
        region,
        capacity_casks,
        opened_year
    from source

)

select * from final
