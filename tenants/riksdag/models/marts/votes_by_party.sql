select
    votes.session,
    votes.vote_id,
    documents.organ,
    members.party,
    count(*) as members,
    count(*) filter (where votes.cast_vote = 'yes') as yes,
    count(*) filter (where votes.cast_vote = 'no') as no,
    count(*) filter (where votes.cast_vote = 'abstained') as abstained,
    count(*) filter (where votes.cast_vote = 'absent') as absent
from {{ ref('stg_voteringlista') }} as votes
join {{ ref('stg_personlista') }} as members using (member_id)
join {{ ref('stg_dokumentlista') }} as documents on documents.document_id = votes.document_id
group by all
