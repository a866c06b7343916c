-- The sensors' readings, each once, beside what they should have been.
select
    readings.reading_id,
    readings.batch_id,
    readings.vessel_id,
    readings.measured_at,
    cast(readings.measured_at as date) as reading_date,
    readings.sensor,
    readings.value,
    abs(readings.value - set_points.set_point) > set_points.tolerance as is_out_of_range
from {{ ref('raw_readings') }} as readings
inner join {{ ref('raw_set_points') }} as set_points on readings.sensor = set_points.sensor
qualify row_number() over (
    partition by readings.batch_id, readings.measured_at, readings.sensor
    order by readings.reading_id
) = 1
