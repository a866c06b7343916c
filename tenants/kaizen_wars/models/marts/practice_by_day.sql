with

bouts as (

    select * from {{ ref('stg_kaizen_wars__fact_virtual') }}

),

final as (

    select
        fought_on,
        practice,
        count(*) as bouts,
        sum(minutes_saved) as minutes_saved
    from bouts
    group by fought_on, practice

)

select * from final
