-- What lies in the warehouses, by brand and age: what can be bottled now, and what is promised to later years.
with

casks as (

    select *
    from {{ ref('dim_casks') }}
    where not is_disgorged

),

brands as (

    select * from {{ ref('dim_brands') }}

),

warehouses as (

    select * from {{ ref('dim_warehouses') }}

),

final as (

    select
        {{ surrogate_key(['casks.brand_id', 'casks.warehouse_id', 'casks.age_band']) }} as maturing_stock_key,
        casks.brand_id,
        brands.brand_name,
        casks.warehouse_id,
        warehouses.warehouse_name,
        warehouses.storage_style,
        casks.age_band,
        cast(count(*) as integer) as number_of_casks,
        cast(sum(casks.bulk_litres) as numeric(18, 2)) as bulk_litres,
        cast(sum(casks.pure_alcohol_litres) as numeric(18, 2)) as pure_alcohol_litres,
        cast(
            {{ divide('100 * sum(casks.pure_alcohol_litres)', 'sum(casks.bulk_litres)') }} as numeric(18, 2)
        ) as average_strength_percent,
        min(casks.last_gauged_on) as oldest_gauge_on
    from casks
    inner join brands
        on casks.brand_id = brands.brand_id
    inner join warehouses
        on casks.warehouse_id = warehouses.warehouse_id
    group by
        casks.brand_id,
        brands.brand_name,
        casks.warehouse_id,
        warehouses.warehouse_name,
        warehouses.storage_style,
        casks.age_band

)

select * from final
