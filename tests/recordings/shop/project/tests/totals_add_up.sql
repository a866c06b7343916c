select 1 as wrong from (select sum(total) t from {{ ref('customer_totals') }}) a, (select sum(amount) t from {{ ref('stg_orders') }}) b where a.t > b.t
