{% set audit = target.database ~ '.' ~ target.schema ~ '.audit' %}
{{ config(
    contract={'enforced': true},
    pre_hook="insert into " ~ audit ~ " select 'pre', 'a', current_timestamp()::timestamp_ntz; "
        ~ "insert into " ~ audit ~ " select 'pre', 'b', current_timestamp()::timestamp_ntz",
    post_hook=["alter session set week_start = 1; update {{ this }} set segment = 'vip' where orders >= 2"]
) }}
select
    c.id::number(38, 0) as customer_id,
    c.name::varchar(100) as name,
    c.country::varchar(2) as country,
    k.name::varchar as country_name,
    count(o.order_id)::number(38, 0) as orders,
    zeroifnull(sum(o.amount))::number(12, 2) as amount,
    'std'::varchar(10) as segment
from {{ ref('stg_customers') }} c
left join {{ ref('eph_active_orders') }} o on o.customer_id = c.id
left join {{ ref('seed_countries') }} k on k.code = c.country
group by 1, 2, 3, 4
