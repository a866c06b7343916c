select
    product,
    count(*) as batches_ended,
    round(avg(titre_g_per_l), 3) as mean_titre_g_per_l,
    round(sum(product_grams), 1) as product_grams,
    cast(sum(excursions) as bigint) as excursions
from {{ ref('mart_batches') }}
where ended_at is not null
group by product
