-- An age statement is the age of the youngest cask in the bottle. The law says so; a younger cask is a recall.
select
    bottling_id,
    sku_id,
    age_statement_years,
    youngest_cask_years
from {{ ref('fct_bottlings') }}
where youngest_cask_years < coalesce(age_statement_years, 3)
