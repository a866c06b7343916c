-- The merge must leave each distributor, SKU and month with the figure of its latest report.
select
    reports.depletion_key,
    reports.cases_depleted as cases_reported,
    depletions.cases_depleted as cases_in_mart
from {{ ref('stg_depletions') }} as reports
left join {{ ref('fct_depletions') }} as depletions
    on reports.depletion_key = depletions.depletion_key
where depletions.depletion_key is null
    or depletions.cases_depleted != reports.cases_depleted
