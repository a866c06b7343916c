with

casks as (

    select * from {{ ref('int_casks_current') }}

),

final as (

    select
        cask_id,
        brand_id,
        warehouse_id,
        cask_type,
        previous_contents,
        cast(fill_number as integer) as fill_number,
        filled_on,
        cast(age_years as integer) as age_years,
        age_band,
        is_scotch_whisky,
        is_disgorged,
        last_gauged_on,
        cast(filled_pure_alcohol_litres as numeric(18, 2)) as filled_pure_alcohol_litres,
        cast(bulk_litres as numeric(18, 2)) as bulk_litres,
        cast(strength_percent as numeric(18, 2)) as strength_percent,
        cast(pure_alcohol_litres as numeric(18, 2)) as pure_alcohol_litres,
        cast(
            100 * (1 - {{ divide('pure_alcohol_litres', 'filled_pure_alcohol_litres') }})
            as numeric(18, 2)
        ) as angels_share_percent
    from casks

)

select * from final
