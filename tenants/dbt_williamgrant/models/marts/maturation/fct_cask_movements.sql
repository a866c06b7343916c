{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail'
    )
}}

-- Append: the ledger only grows. A wrong entry is put right by another one, under a higher number.
with

gauges as (

    select * from {{ ref('int_cask_gauges') }}

    {% if is_incremental() %}
    where movement_number > (select coalesce(max(movement_number), 0) from {{ this }})
    {% endif %}

),

final as (

    select
        cast(movement_number as integer) as movement_number,
        cask_id,
        movement_type,
        moved_on,
        warehouse_id,
        matured_in_warehouse_id,
        cast(bulk_litres as numeric(18, 2)) as bulk_litres,
        cast(strength_percent as numeric(18, 2)) as strength_percent,
        cast(pure_alcohol_litres as numeric(18, 2)) as pure_alcohol_litres,
        cast(previous_pure_alcohol_litres as numeric(18, 2)) as previous_pure_alcohol_litres,
        cast(days_since_previous as integer) as days_since_previous,
        cast(pure_alcohol_litres_lost as numeric(18, 2)) as pure_alcohol_litres_lost,
        cast(loss_percent_per_year as numeric(18, 2)) as loss_percent_per_year,
        bottling_id
    from gauges

)

select * from final
