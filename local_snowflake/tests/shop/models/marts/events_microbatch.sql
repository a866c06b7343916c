{{ config(
    materialized='incremental', incremental_strategy='microbatch',
    event_time='at', batch_size='day', begin='2026-11-15', lookback=1
) }}
select id, kind, at, payload:n::int as n from {{ ref('stg_events') }}
