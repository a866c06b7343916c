with

brands as (

    select * from {{ ref('stg_brands') }}

),

skus as (

    select
        brand_id,
        count(*) as number_of_skus,
        max(age_statement_years) as oldest_age_statement_years,
        min(launched_on) as first_launched_on
    from {{ ref('stg_skus') }}
    group by brand_id

),

final as (

    select
        brands.brand_id,
        brands.brand_name,
        brands.spirit_category,
        brands.region,
        cast(brands.founded_year as integer) as founded_year,
        brands.is_active,
        cast(coalesce(skus.number_of_skus, 0) as integer) as number_of_skus,
        cast(skus.oldest_age_statement_years as integer) as oldest_age_statement_years,
        skus.first_launched_on
    from brands
    left join skus
        on brands.brand_id = skus.brand_id

)

select * from final
