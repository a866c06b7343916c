{{ config(event_time='at') }}
select * from {{ source('raw', 'events') }}
