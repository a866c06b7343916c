with

bottlings as (

    select * from {{ ref('stg_bottlings') }}

),

skus as (

    select * from {{ ref('stg_skus') }}

),

casks as (

    select
        bottling_id,
        count(*) as number_of_casks,
        min(age_years) as youngest_cask_years,
        max(age_years) as oldest_cask_years,
        sum(pure_alcohol_litres) as pure_alcohol_litres_disgorged
    from {{ ref('int_bottling_casks') }}
    group by bottling_id

),

bottlings_and_casks as (

    select
        bottlings.bottling_id,
        bottlings.sku_id,
        skus.brand_id,
        bottlings.bottled_on,
        bottlings.bottling_line,
        skus.age_statement_years,
        casks.youngest_cask_years,
        casks.oldest_cask_years,
        casks.number_of_casks,
        bottlings.cases_produced,
        {{ nine_litre_cases(
            'bottlings.cases_produced', 'skus.bottles_per_case', 'skus.bottle_size_ml'
        ) }} as nine_litre_cases,
        casks.pure_alcohol_litres_disgorged,
        {{ litres_of_pure_alcohol(
            'bottlings.cases_produced * skus.litres_per_case', 'skus.abv_percent'
        ) }} as pure_alcohol_litres_bottled
    from bottlings
    inner join skus
        on bottlings.sku_id = skus.sku_id
    left join casks
        on bottlings.bottling_id = casks.bottling_id

),

final as (

    select
        bottling_id,
        sku_id,
        brand_id,
        bottled_on,
        bottling_line,
        cast(age_statement_years as integer) as age_statement_years,
        cast(youngest_cask_years as integer) as youngest_cask_years,
        cast(oldest_cask_years as integer) as oldest_cask_years,
        cast(number_of_casks as integer) as number_of_casks,
        cast(cases_produced as integer) as cases_produced,
        cast(nine_litre_cases as numeric(18, 2)) as nine_litre_cases,
        cast(pure_alcohol_litres_disgorged as numeric(18, 2)) as pure_alcohol_litres_disgorged,
        cast(pure_alcohol_litres_bottled as numeric(18, 2)) as pure_alcohol_litres_bottled,
        cast(
            100 * {{ divide('pure_alcohol_litres_bottled', 'pure_alcohol_litres_disgorged') }}
            as numeric(18, 2)
        ) as bottling_yield_percent
    from bottlings_and_casks

)

select * from final
