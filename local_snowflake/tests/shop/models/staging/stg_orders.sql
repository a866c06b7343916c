{{ config(event_time='ordered_at') }}
select
    id as order_id,
    customer_id,
    amount::number(12, 2) as amount,
    iff(status = 'x', 'cancelled', status) as status,
    ordered_at,
    loaded_at,
    items
from {{ source('raw', 'orders') }}
