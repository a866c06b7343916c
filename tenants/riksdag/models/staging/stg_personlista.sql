select
    intressent_id as member_id,
    tilltalsnamn || ' ' || efternamn as member_name,
    kon as gender,
    cast(fodd_ar as integer) as birth_year,
    parti as party,
    valkrets as constituency,
    status = 'Tjänstgörande riksdagsledamot' as is_serving
from {{ ref('personlista') }}
