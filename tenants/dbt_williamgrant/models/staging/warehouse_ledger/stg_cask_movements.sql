-- depends_on: {{ ref('raw_cask_movements') }}

with

source as (

    select * from {{ source('warehouse_ledger', 'cask_movements') }}

),

final as (

    select
        movement_number,
        cask_id,
        movement_type,
        moved_on,
        warehouse_id,
        bulk_litres,
        strength_percent,
        {{ litres_of_pure_alcohol('bulk_litres', 'strength_percent') }} as pure_alcohol_litres,
        bottling_id
    from source
    where moved_on <= {{ as_of_date() }}

)

select * from final
