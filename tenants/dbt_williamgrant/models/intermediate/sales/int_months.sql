-- Every month from the first trading month to the last one closed on the day the figures are looked at.
with

numbers as (

    {{ dbt.generate_series(120) }}

),

months as (

    select
        {{ add_months(
            "cast('" ~ var('first_trading_month') ~ "' as date)",
            'cast(generated_number as integer) - 1'
        ) }} as month_start
    from numbers

),

final as (

    select month_start
    from months
    where month_start < {{ month_of(as_of_date()) }}

)

select * from final
