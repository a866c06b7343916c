select
    session,
    organ,
    count(*) as documents,
    count(*) filter (where document_type = 'motion') as motions,
    count(*) filter (where document_type = 'report') as reports,
    count(*) filter (where document_type = 'bill') as bills,
    min(published_on) as first_published_on,
    max(published_on) as last_published_on
from {{ ref('stg_dokumentlista') }}
group by session, organ
