with

bouts as (

    select * from {{ source('raw', 'fact_virtual') }}

),

final as (

    select
        bout_id,
        fought_at,
        cast(fought_at as date) as fought_on,
        dojo,
        practice,
        outcome,
        minutes_saved
    from bouts

)

select * from final
