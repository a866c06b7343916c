select * from (select status, amount from {{ ref('stg_orders') }})
pivot(sum(amount) for status in ('open', 'paid', 'cancelled')) as p (open_amt, paid_amt, cancelled_amt)
