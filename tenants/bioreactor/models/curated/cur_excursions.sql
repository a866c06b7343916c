-- Readings out of range that follow each other are one excursion.
with readings as (
    select
        batch_id,
        vessel_id,
        sensor,
        measured_at,
        value,
        is_out_of_range,
        row_number() over (partition by batch_id, sensor order by measured_at)
        - row_number() over (partition by batch_id, sensor, is_out_of_range order by measured_at) as stretch
    from {{ ref('stg_bioreactor') }}
)

select
    batch_id,
    vessel_id,
    sensor,
    min(measured_at) as began_at,
    max(measured_at) as last_seen_at,
    count(*) as readings,
    max(value) as highest,
    min(value) as lowest
from readings
where is_out_of_range
group by batch_id, vessel_id, sensor, stretch
