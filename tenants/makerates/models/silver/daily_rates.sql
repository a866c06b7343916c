{{ config(location=env_var('SILVER_URL') ~ '/daily_rates.parquet') }}

-- A day that was given again counts as it was given last.
select
    day,
    base,
    currency,
    cast(rate as decimal(18, 6)) as rate,
    published_at
from {{ source('bronze', 'rates') }}
qualify row_number() over (partition by day, base, currency order by published_at desc) = 1
order by day, currency
