with

markets as (

    select * from {{ ref('ref_markets') }}

),

distributors as (

    select
        market_code,
        count(*) as active_distributors
    from {{ ref('stg_distributors') }}
    where distributor_status = 'active'
    group by market_code

),

latest_rates as (

    select *
    from {{ ref('ref_exchange_rates') }}
    where rate_month <= {{ as_of_date() }}
    qualify row_number() over (partition by currency_code order by rate_month desc) = 1

),

final as (

    select
        markets.market_code,
        markets.market_name,
        markets.sales_region,
        markets.currency_code,
        cast(latest_rates.gbp_per_unit as numeric(18, 6)) as gbp_per_unit,
        cast(coalesce(distributors.active_distributors, 0) as integer) as active_distributors
    from markets
    left join latest_rates
        on markets.currency_code = latest_rates.currency_code
    left join distributors
        on markets.market_code = distributors.market_code

)

select * from final
