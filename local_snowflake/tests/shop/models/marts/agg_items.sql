select
    sku,
    sum(qty) as qty,
    sum(qty * price) as revenue,
    ratio_to_report(sum(qty)) over () as share,
    listagg(distinct order_id::varchar, ',') within group (order by order_id::varchar) as orders,
    array_agg(order_id) within group (order by order_id) as order_ids,
    object_construct('sku', sku, 'qty', sum(qty)) as obj,
    median(price) as median_price
from {{ ref('stg_order_items') }}
group by sku
