select
    batches.batch_id,
    batches.vessel_id,
    vessels.volume_litres,
    batches.product,
    batches.started_at,
    batches.ended_at
from {{ ref('raw_batches') }} as batches
inner join {{ ref('raw_vessels') }} as vessels on batches.vessel_id = vessels.vessel_id
