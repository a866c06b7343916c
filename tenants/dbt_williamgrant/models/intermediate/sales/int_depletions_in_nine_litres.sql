with

depletions as (

    select * from {{ ref('stg_depletions') }}

),

skus as (

    select * from {{ ref('stg_skus') }}

),

distributors as (

    select * from {{ ref('stg_distributors') }}

),

final as (

    select
        depletions.depletion_key,
        depletions.distributor_id,
        distributors.market_code,
        depletions.sku_id,
        skus.brand_id,
        depletions.depletion_month,
        depletions.reported_on,
        depletions.report_version,
        depletions.cases_depleted,
        {{ nine_litre_cases(
            'depletions.cases_depleted', 'skus.bottles_per_case', 'skus.bottle_size_ml'
        ) }} as nine_litre_cases
    from depletions
    inner join skus
        on depletions.sku_id = skus.sku_id
    inner join distributors
        on depletions.distributor_id = distributors.distributor_id

)

select * from final
