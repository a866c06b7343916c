select id, trim(name) as name, upper(country) as country, email, updated_at::timestamp_ntz as updated_at, attrs
from {{ source('raw', 'customers') }}
qualify row_number() over (partition by id order by updated_at desc) = 1
