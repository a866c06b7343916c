-- depends_on: {{ ref('raw_distributors') }}

with

source as (

    select * from {{ source('distributor_portal', 'distributors') }}

),

final as (

    select
        distributor_id,
        distributor_name,
        market_code,
        route_to_market,
        tier,
        payment_terms_days,
        incoterm,
        status as distributor_status,
        contract_started_on
    from source

)

select * from final
