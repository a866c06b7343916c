select
    to_varchar(ordered_at, 'YYYY-MM') as month,
    last_day(ordered_at::date) as month_end,
    date_trunc('month', ordered_at)::date as month_start,
    datediff('day', min(ordered_at)::date, max(ordered_at)) as span,
    dateadd('day', 1, max(ordered_at)) as day_after,
    div0(sum(amount), count(*)) as average,
    count(*) as n
from {{ ref('stg_orders') }}
group by 1, 2, 3
