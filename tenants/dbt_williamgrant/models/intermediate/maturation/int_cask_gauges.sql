-- Each time a cask was measured, beside the time before: what has gone in between is the angels' share.
with

movements as (

    select * from {{ ref('stg_cask_movements') }}

),

with_previous as (

    select
        movement_number,
        cask_id,
        movement_type,
        moved_on,
        warehouse_id,
        -- the spirit evaporated where the cask lay until now, not where it was moved to
        coalesce(
            lag(warehouse_id) over (partition by cask_id order by movement_number), warehouse_id
        ) as matured_in_warehouse_id,
        bulk_litres,
        strength_percent,
        pure_alcohol_litres,
        lag(moved_on) over (partition by cask_id order by movement_number) as previous_moved_on,
        lag(pure_alcohol_litres) over (partition by cask_id order by movement_number) as previous_pure_alcohol_litres,
        bottling_id
    from movements

),

with_days as (

    select
        *,
        cast({{ dbt.datediff('previous_moved_on', 'moved_on', 'day') }} as integer) as days_since_previous,
        previous_pure_alcohol_litres - pure_alcohol_litres as pure_alcohol_litres_lost
    from with_previous

),

final as (

    select
        movement_number,
        cask_id,
        movement_type,
        moved_on,
        warehouse_id,
        matured_in_warehouse_id,
        bulk_litres,
        strength_percent,
        pure_alcohol_litres,
        previous_moved_on,
        previous_pure_alcohol_litres,
        days_since_previous,
        pure_alcohol_litres_lost,
        -- compound, as the losses of one year are not there to be lost in the next
        cast(
            100 * (
                1 - power(
                    {{ divide('pure_alcohol_litres', 'previous_pure_alcohol_litres') }},
                    {{ divide('365.25', 'days_since_previous') }}
                )
            )
            as numeric(18, 2)
        ) as loss_percent_per_year,
        bottling_id
    from with_days

)

select * from final
