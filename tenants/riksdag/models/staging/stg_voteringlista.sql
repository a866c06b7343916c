select
    votering_id as vote_id,
    dok_id as document_id,
    rm as session,
    intressent_id as member_id,
    case rost
        when 'Ja' then 'yes'
        when 'Nej' then 'no'
        when 'Avstår' then 'abstained'
        when 'Frånvarande' then 'absent'
    end as cast_vote
from {{ ref('voteringlista') }}
