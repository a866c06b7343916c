-- More casks than places: a move was booked to the wrong warehouse.
select
    warehouse_id,
    casks_maturing,
    capacity_casks
from {{ ref('dim_warehouses') }}
where casks_maturing > capacity_casks
