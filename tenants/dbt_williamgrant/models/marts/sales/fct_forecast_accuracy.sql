-- Every forecast of a month that is now closed, beside what was really sold.
with

forecasts as (

    select * from {{ ref('stg_forecasts') }}

),

closed_months as (

    select * from {{ ref('int_months') }}

),

actuals as (

    select * from {{ ref('int_brand_market_months') }}

),

forecasts_and_actuals as (

    select
        forecasts.forecast_key,
        forecasts.brand_id,
        forecasts.market_code,
        forecasts.forecast_month,
        forecasts.cycle_month,
        forecasts.months_ahead,
        forecasts.forecast_nine_litre_cases,
        coalesce(actuals.depleted_nine_litre_cases, 0) as actual_nine_litre_cases
    from forecasts
    inner join closed_months
        on forecasts.forecast_month = closed_months.month_start
    left join actuals
        on forecasts.brand_id = actuals.brand_id
        and forecasts.market_code = actuals.market_code
        and forecasts.forecast_month = actuals.sales_month

),

final as (

    select
        forecast_key,
        brand_id,
        market_code,
        forecast_month,
        cycle_month,
        cast(months_ahead as integer) as months_ahead,
        cast(forecast_nine_litre_cases as numeric(18, 2)) as forecast_nine_litre_cases,
        cast(actual_nine_litre_cases as numeric(18, 2)) as actual_nine_litre_cases,
        cast(forecast_nine_litre_cases - actual_nine_litre_cases as numeric(18, 2)) as bias_nine_litre_cases,
        cast(abs(forecast_nine_litre_cases - actual_nine_litre_cases) as numeric(18, 2)) as error_nine_litre_cases,
        cast(
            100 * {{ divide('abs(forecast_nine_litre_cases - actual_nine_litre_cases)', 'actual_nine_litre_cases') }}
            as numeric(18, 2)
        ) as error_percent
    from forecasts_and_actuals

)

select * from final
