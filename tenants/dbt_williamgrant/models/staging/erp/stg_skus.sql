-- depends_on: {{ ref('raw_skus') }}

with

source as (

    select * from {{ source('erp', 'skus') }}

),

final as (

    select
        sku_id,
        brand_id,
        sku_name,
        age_statement_years,
        coalesce(cask_finish, 'none') as cask_finish,
        abv_percent,
        bottle_size_ml,
        bottles_per_case,
        cast(bottles_per_case * bottle_size_ml / 1000.0 as numeric(18, 2)) as litres_per_case,
        launched_on,
        status as sku_status
    from source

)

select * from final
