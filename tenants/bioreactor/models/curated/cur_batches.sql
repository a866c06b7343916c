-- Batch by batch: one that had ended when it was last built is final, so that only new and running ones are built.
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='batch_id',
    on_schema_change='fail'
) }}

with batches as (
    select * from {{ ref('stg_batches') }}
    {% if is_incremental() %}
    where batch_id not in (select batch_id from {{ this }} where ended_at is not null)
    {% endif %}
)

select
    batches.batch_id,
    batches.vessel_id,
    batches.volume_litres,
    batches.product,
    batches.started_at,
    batches.ended_at,
    count(samples.sample_id) as samples,
    max(samples.viable_cells_e6_per_ml) as peak_viable_cells_e6_per_ml,
    arg_max(samples.viability_pct, samples.sampled_at) as last_viability_pct,
    max(samples.titre_g_per_l) as titre_g_per_l
from batches
left join {{ ref('stg_samples') }} as samples on batches.batch_id = samples.batch_id
group by all
