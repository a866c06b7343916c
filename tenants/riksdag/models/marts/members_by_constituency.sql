select
    constituency,
    count(*) as members,
    count(*) filter (where is_serving) as serving,
    count(distinct party) as parties,
    round(avg(birth_year), 1) as mean_birth_year
from {{ ref('stg_personlista') }}
group by constituency
