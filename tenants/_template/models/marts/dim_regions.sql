select
    region,
    count(*) as countries
from {{ ref('stg_countries') }}
group by region
