{{ config(materialized='view') }}
select d.name, d.country_name, d.amount, d.segment
from {{ ref('dim_customers') }} d
where d.name ilike any ('a%', '%b%', '%e%')
