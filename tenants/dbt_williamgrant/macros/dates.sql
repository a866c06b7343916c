{#- The day the figures are looked at, from the variable `as_of_date`. -#}
{% macro as_of_date() -%}
    cast('{{ var("as_of_date") }}' as date)
{%- endmacro %}


{#- The first day of a date's month, as a date on every warehouse (a bare date_trunc may give a timestamp). -#}
{% macro month_of(date) -%}
    cast({{ dbt.date_trunc('month', date) }} as date)
{%- endmacro %}


{#- A date some months later (or earlier: a negative number), as a date. -#}
{% macro add_months(date, months) -%}
    cast({{ dbt.dateadd('month', months, date) }} as date)
{%- endmacro %}


{#- Birthdays passed between two dates. A warehouse's own datediff counts New Year's Eves, and the age on a label
    must never be rounded up. -#}
{% macro full_years_between(from_date, to_date) -%}
    cast(
        extract(year from {{ to_date }}) - extract(year from {{ from_date }})
        - case
            when
                extract(month from {{ to_date }}) * 100 + extract(day from {{ to_date }})
                < extract(month from {{ from_date }}) * 100 + extract(day from {{ from_date }})
                then 1
            else 0
        end
        as integer
    )
{%- endmacro %}
