{{ config(location=env_var('SILVER_URL') ~ '/calendar_rates.parquet') }}

-- On a day without a rate, a Sunday say, the last one before it holds.
with days as (
    select cast(unnest(generate_series(min(day), max(day), interval 1 day)) as date) as day
    from {{ ref('daily_rates') }}
),

currencies as (
    select distinct base, currency from {{ ref('daily_rates') }}
)

select
    days.day,
    currencies.base,
    currencies.currency,
    given.rate,
    given.day < days.day as is_carried
from days
cross join currencies
asof join {{ ref('daily_rates') }} as given
    on given.currency = currencies.currency and given.base = currencies.base and given.day <= days.day
order by days.day, currencies.currency
