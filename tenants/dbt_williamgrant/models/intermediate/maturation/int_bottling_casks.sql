-- The casks that went into a bottling, each with its age on the day it was emptied.
with

disgorgings as (

    select *
    from {{ ref('stg_cask_movements') }}
    where movement_type = 'disgorge'

),

casks as (

    select * from {{ ref('stg_casks') }}

),

final as (

    select
        disgorgings.bottling_id,
        disgorgings.cask_id,
        casks.brand_id,
        casks.cask_type,
        casks.filled_on,
        disgorgings.moved_on as disgorged_on,
        {{ full_years_between('casks.filled_on', 'disgorgings.moved_on') }} as age_years,
        disgorgings.bulk_litres,
        disgorgings.pure_alcohol_litres
    from disgorgings
    inner join casks
        on disgorgings.cask_id = casks.cask_id

)

select * from final
