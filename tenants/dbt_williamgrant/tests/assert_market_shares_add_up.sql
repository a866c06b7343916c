-- Our brands' shares of our own depletions in a market and month are one whole, but for rounding.
select
    market_code,
    sales_month,
    sum(share_of_market_percent) as total_percent
from {{ ref('mart_brand_performance') }}
where share_of_market_percent is not null
group by
    market_code,
    sales_month
having abs(sum(share_of_market_percent) - 100) > 0.1
