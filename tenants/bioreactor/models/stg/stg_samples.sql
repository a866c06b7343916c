select
    sample_id,
    batch_id,
    sampled_at,
    viable_cells_e6_per_ml,
    viability_pct,
    titre_g_per_l
from {{ ref('raw_samples') }}
