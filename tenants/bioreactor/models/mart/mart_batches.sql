select
    batches.batch_id,
    batches.product,
    batches.vessel_id,
    batches.started_at,
    batches.ended_at,
    batches.titre_g_per_l,
    round(batches.titre_g_per_l * batches.volume_litres, 1) as product_grams,
    batches.peak_viable_cells_e6_per_ml,
    batches.last_viability_pct,
    coalesce(excursions.excursions, 0) as excursions
from {{ ref('cur_batches') }} as batches
left join (
    select batch_id, count(*) as excursions from {{ ref('cur_excursions') }} group by batch_id
) as excursions on batches.batch_id = excursions.batch_id
