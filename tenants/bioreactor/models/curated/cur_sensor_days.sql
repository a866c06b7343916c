-- A day at a time: a run for some days replaces these and leaves the others alone.
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='reading_date',
    on_schema_change='fail',
    tags=['daily']
) }}

select
    reading_date,
    vessel_id,
    batch_id,
    sensor,
    count(*) as readings,
    count(*) filter (where is_out_of_range) as readings_out_of_range,
    round(min(value), 3) as lowest,
    round(avg(value), 3) as mean,
    round(max(value), 3) as highest
from {{ ref('stg_bioreactor') }}
where {{ within_partition('measured_at') }}
group by reading_date, vessel_id, batch_id, sensor
