-- Yearly loss by kind of warehouse and cask, beside what such a cask is expected to lose: a leak shows here first.
with

gauges as (

    select *
    from {{ ref('fct_cask_movements') }}
    where days_since_previous is not null

),

casks as (

    select * from {{ ref('dim_casks') }}

),

warehouses as (

    select * from {{ ref('dim_warehouses') }}

),

cask_types as (

    select * from {{ ref('ref_cask_types') }}

),

losses as (

    select
        warehouses.storage_style,
        casks.cask_type,
        count(distinct gauges.cask_id) as number_of_casks,
        count(*) as number_of_gauges,
        sum(gauges.pure_alcohol_litres_lost) as pure_alcohol_litres_lost,
        -- weighted by the time between two gauges, so that a short interval, which is mostly dip error, counts little
        sum(cast(gauges.loss_percent_per_year as double) * gauges.days_since_previous) as loss_percent_days,
        sum(gauges.days_since_previous) as days
    from gauges
    inner join casks
        on gauges.cask_id = casks.cask_id
    inner join warehouses
        on gauges.matured_in_warehouse_id = warehouses.warehouse_id
    group by
        warehouses.storage_style,
        casks.cask_type

),

final as (

    select
        {{ surrogate_key(['losses.storage_style', 'losses.cask_type']) }} as angels_share_key,
        losses.storage_style,
        losses.cask_type,
        cast(losses.number_of_casks as integer) as number_of_casks,
        cast(losses.number_of_gauges as integer) as number_of_gauges,
        cast(losses.pure_alcohol_litres_lost as numeric(18, 2)) as pure_alcohol_litres_lost,
        cast({{ divide('losses.loss_percent_days', 'losses.days') }} as numeric(18, 2)) as loss_percent_per_year,
        cast(cask_types.expected_loss_percent_per_year as numeric(18, 2)) as expected_loss_percent_per_year,
        cast(
            {{ divide('losses.loss_percent_days', 'losses.days') }} - cask_types.expected_loss_percent_per_year
            as numeric(18, 2)
        ) as above_expectation_percent
    from losses
    inner join cask_types
        on losses.cask_type = cask_types.cask_type

)

select * from final
