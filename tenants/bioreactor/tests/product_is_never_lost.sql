-- The titre of a batch only grows: a sample below an earlier one by more than the noise was mixed up.
select later.sample_id
from {{ ref('stg_samples') }} as earlier
inner join {{ ref('stg_samples') }} as later
    on earlier.batch_id = later.batch_id and earlier.sampled_at < later.sampled_at
where later.titre_g_per_l < earlier.titre_g_per_l - 0.05
