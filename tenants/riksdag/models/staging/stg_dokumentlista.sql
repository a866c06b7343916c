select
    dok_id as document_id,
    rm as session,
    beteckning as designation,
    case typ
        when 'mot' then 'motion'
        when 'bet' then 'report'
        when 'prop' then 'bill'
        when 'ip' then 'interpellation'
    end as document_type,
    organ,
    titel as title,
    cast(datum as date) as published_on
from {{ ref('dokumentlista') }}
