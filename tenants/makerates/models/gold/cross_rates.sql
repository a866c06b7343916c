{{ config(location=env_var('GOLD_URL') ~ '/cross_rates.parquet') }}

-- Every currency in every other, by way of the euro, on the last day and on the working day before.
with last_days as (
    select day, row_number() over (order by day desc) as back
    from (select distinct day from {{ ref('daily_rates') }})
    qualify back <= 2
),

in_euro as (
    select rates.currency, rates.day, rates.rate, last_days.back
    from {{ ref('daily_rates') }} as rates
    join last_days using (day)
    union all
    select 'EUR', day, 1, back from last_days
)

select
    base.currency as base,
    quote.currency as currency,
    max(quote.day) as day,
    cast(max(quote.rate / base.rate) filter (quote.back = 1) as decimal(18, 6)) as rate,
    cast(max(quote.rate / base.rate) filter (quote.back = 2) as decimal(18, 6)) as rate_before
from in_euro as base
join in_euro as quote on quote.day = base.day and quote.currency != base.currency
group by all
order by base, currency
