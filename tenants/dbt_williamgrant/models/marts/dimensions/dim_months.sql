with

months as (

    select * from {{ ref('int_months') }}

),

final as (

    select
        month_start,
        cast({{ dbt.dateadd('day', -1, add_months('month_start', 1)) }} as date) as month_end,
        cast(extract(year from month_start) as integer) as calendar_year,
        cast(extract(quarter from month_start) as integer) as calendar_quarter,
        cast(extract(month from month_start) as integer) as month_number,
        extract(month from month_start) in (10, 11, 12) as is_peak_season
    from months

)

select * from final
