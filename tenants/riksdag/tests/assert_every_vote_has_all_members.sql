-- A vote in which somebody is neither there nor absent has been loaded in part.
select vote_id, sum(members) as counted
from {{ ref('votes_by_party') }}
group by vote_id
having sum(members) <> (select count(*) from {{ ref('stg_personlista') }})
    or sum(yes + no + abstained + absent) <> sum(members)
