-- depends_on: {{ ref('raw_brands') }}

with

source as (

    select * from {{ source('erp', 'brands') }}

),

final as (

    select
        brand_id,
        brand_name,
        spirit_category,
        coalesce(region, 'Blended') as region,
        founded_year,
        is_active
    from source

)

select * from final
