select
    o.order_id,
    f.index as line,
    f.value:sku::varchar as sku,
    f.value:qty::int as qty,
    nvl(f.value:price::number(10, 2), 0) as price
from {{ ref('stg_orders') }} o, lateral flatten(input => o.items) f
