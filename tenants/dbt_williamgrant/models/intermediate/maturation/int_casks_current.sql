-- A cask as the ledger last saw it, with its age on the day the figures are looked at.
with

casks as (

    select * from {{ ref('stg_casks') }}

),

gauges as (

    select * from {{ ref('int_cask_gauges') }}

),

age_bands as (

    select * from {{ ref('ref_age_bands') }}

),

latest_gauges as (

    select *
    from gauges
    qualify row_number() over (partition by cask_id order by movement_number desc) = 1

),

casks_with_age as (

    select
        casks.*,
        latest_gauges.warehouse_id,
        latest_gauges.moved_on as last_gauged_on,
        latest_gauges.bulk_litres,
        latest_gauges.strength_percent,
        latest_gauges.pure_alcohol_litres,
        latest_gauges.movement_type = 'disgorge' as is_disgorged,
        -- maturing ends when the spirit leaves the wood
        case
            when latest_gauges.movement_type = 'disgorge'
                then {{ full_years_between('casks.filled_on', 'latest_gauges.moved_on') }}
            else {{ full_years_between('casks.filled_on', as_of_date()) }}
        end as age_years
    from casks
    inner join latest_gauges
        on casks.cask_id = latest_gauges.cask_id

),

final as (

    select
        casks_with_age.cask_id,
        casks_with_age.brand_id,
        casks_with_age.warehouse_id,
        casks_with_age.cask_type,
        casks_with_age.previous_contents,
        casks_with_age.fill_number,
        casks_with_age.filled_on,
        casks_with_age.filled_pure_alcohol_litres,
        casks_with_age.last_gauged_on,
        casks_with_age.bulk_litres,
        casks_with_age.strength_percent,
        casks_with_age.pure_alcohol_litres,
        casks_with_age.is_disgorged,
        casks_with_age.age_years,
        age_bands.age_band,
        age_bands.is_scotch_whisky
    from casks_with_age
    left join age_bands
        on casks_with_age.age_years >= age_bands.from_years
        and casks_with_age.age_years < age_bands.below_years

)

select * from final
