{{ config(location=env_var('GOLD_URL') ~ '/month_rates.parquet') }}

select
    base,
    currency,
    strftime(day, '%Y-%m') as month,
    cast(avg(rate) as decimal(18, 6)) as average,
    min(rate) as lowest,
    max(rate) as highest,
    max_by(rate, day) as closing
from {{ ref('calendar_rates') }}
group by all
order by base, currency, month
