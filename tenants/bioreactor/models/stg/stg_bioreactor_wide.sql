-- A column a sensor, as the first dashboards wanted it. Nobody reads it any more: `exclude: tag:deprecated`.
{{ config(tags=['deprecated']) }}

pivot (select batch_id, measured_at, sensor, value from {{ ref('stg_bioreactor') }})
on sensor in ('temperature_c', 'ph', 'dissolved_oxygen_pct', 'agitation_rpm')
using first(value)
