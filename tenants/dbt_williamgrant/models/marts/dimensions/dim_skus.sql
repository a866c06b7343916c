with

skus as (

    select * from {{ ref('stg_skus') }}

),

brands as (

    select * from {{ ref('stg_brands') }}

),

price_list as (

    select * from {{ ref('stg_price_list') }}

),

final as (

    select
        skus.sku_id,
        skus.sku_name,
        skus.brand_id,
        brands.brand_name,
        brands.spirit_category,
        cast(skus.age_statement_years as integer) as age_statement_years,
        skus.cask_finish,
        cast(skus.abv_percent as numeric(18, 2)) as abv_percent,
        cast(skus.bottle_size_ml as integer) as bottle_size_ml,
        cast(skus.bottles_per_case as integer) as bottles_per_case,
        cast(skus.litres_per_case as numeric(18, 2)) as litres_per_case,
        skus.sku_status,
        skus.launched_on,
        cast(price_list.list_price_per_case_gbp as numeric(18, 2)) as list_price_per_case_gbp,
        cast(
            {{ divide('price_list.list_price_per_case_gbp', 'skus.bottles_per_case') }}
            as numeric(18, 2)
        ) as list_price_per_bottle_gbp
    from skus
    inner join brands
        on skus.brand_id = brands.brand_id
    left join price_list
        on skus.sku_id = price_list.sku_id

)

select * from final
