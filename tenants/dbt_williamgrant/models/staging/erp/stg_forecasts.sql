-- depends_on: {{ ref('raw_forecasts') }}

with

source as (

    select * from {{ source('erp', 'forecasts') }}

),

final as (

    select
        {{ surrogate_key(['brand_id', 'market_code', 'forecast_month', 'cycle_month']) }} as forecast_key,
        brand_id,
        market_code,
        forecast_month,
        cycle_month,
        cast({{ dbt.datediff('cycle_month', 'forecast_month', 'month') }} as integer) as months_ahead,
        forecast_nine_litre_cases
    from source
    where cycle_month <= {{ as_of_date() }}

)

select * from final
