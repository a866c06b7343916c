-- depends_on: {{ ref('raw_casks') }}

with

source as (

    select * from {{ source('warehouse_ledger', 'casks') }}

),

final as (

    select
        cask_id,
        brand_id,
        warehouse_id as filled_at_warehouse_id,
        cask_type,
        previous_contents,
        fill_number,
        filled_on,
        filled_bulk_litres,
        filled_strength_percent,
        {{ litres_of_pure_alcohol('filled_bulk_litres', 'filled_strength_percent') }} as filled_pure_alcohol_litres
    from source
    where filled_on <= {{ as_of_date() }}

)

select * from final
