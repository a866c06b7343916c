with

bouts as (

    select * from {{ ref('stg_kaizen_wars__fact_virtual') }}

),

final as (

    select
        dojo,
        count(*) as bouts,
        sum(case when outcome = 'won' then 1 else 0 end) as bouts_won,
        sum(minutes_saved) as minutes_saved,
        max(fought_at) as last_fought_at
    from bouts
    group by dojo

)

select * from final
