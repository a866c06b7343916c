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
    -- A sum is a HUGEINT, which Postgres has not.
    cast(sum(readings) as bigint) as readings,
    cast(sum(readings_out_of_range) as bigint) as readings_out_of_range,
    round(100.0 * sum(readings_out_of_range) / sum(readings), 2) as out_of_range_pct
from {{ ref('cur_sensor_days') }}
where {{ within_partition('reading_date') }}
group by reading_date, vessel_id
