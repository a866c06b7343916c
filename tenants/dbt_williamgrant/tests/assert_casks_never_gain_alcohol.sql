-- Spirit only leaves a cask. More of it than at the last gauge means a wrong dip, or two casks under one number.
select
    movement_number,
    cask_id,
    previous_pure_alcohol_litres,
    pure_alcohol_litres
from {{ ref('fct_cask_movements') }}
where pure_alcohol_litres > previous_pure_alcohol_litres
