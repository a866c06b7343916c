with

warehouses as (

    select * from {{ ref('stg_warehouses') }}

),

casks as (

    select
        warehouse_id,
        count(*) as casks_maturing
    from {{ ref('dim_casks') }}
    where not is_disgorged
    group by warehouse_id

),

final as (

    select
        warehouses.warehouse_id,
        warehouses.warehouse_name,
        warehouses.storage_style,
        warehouses.region,
        cast(warehouses.opened_year as integer) as opened_year,
        cast(warehouses.capacity_casks as integer) as capacity_casks,
        cast(coalesce(casks.casks_maturing, 0) as integer) as casks_maturing,
        cast(
            100 * {{ divide('coalesce(casks.casks_maturing, 0)', 'warehouses.capacity_casks') }}
            as numeric(18, 2)
        ) as occupancy_percent
    from warehouses
    left join casks
        on warehouses.warehouse_id = casks.warehouse_id

)

select * from final
