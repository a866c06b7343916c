-- Distributors on the terms in force, with the number of times the terms were seen to change.
with

terms as (

    select * from {{ ref('snap_distributor_terms') }}

),

markets as (

    select * from {{ ref('ref_markets') }}

),

numbered_terms as (

    select
        *,
        row_number() over (partition by distributor_id order by dbt_valid_from) as terms_version
    from terms

),

terms_in_force as (

    select *
    from numbered_terms
    where dbt_valid_to is null

),

final as (

    select
        terms_in_force.distributor_id,
        terms_in_force.distributor_name,
        terms_in_force.market_code,
        markets.market_name,
        markets.sales_region,
        terms_in_force.route_to_market,
        terms_in_force.tier,
        cast(terms_in_force.payment_terms_days as integer) as payment_terms_days,
        terms_in_force.incoterm,
        terms_in_force.distributor_status,
        terms_in_force.contract_started_on,
        cast(terms_in_force.terms_version as integer) as terms_version
    from terms_in_force
    inner join markets
        on terms_in_force.market_code = markets.market_code

)

select * from final
