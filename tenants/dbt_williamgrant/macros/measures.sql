{#- Cases of any format in the trade's common unit: a case of twelve 75cl bottles, nine litres. -#}
{% macro nine_litre_cases(cases, bottles_per_case, bottle_size_ml) -%}
    cast(
        cast({{ cases }} as double) * {{ bottles_per_case }} * {{ bottle_size_ml }} / 9000.0
        as numeric(18, 2)
    )
{%- endmacro %}


{#- Litres of pure alcohol (LPA), which is what a cask is valued and taxed by. -#}
{% macro litres_of_pure_alcohol(bulk_litres, strength_percent) -%}
    cast(cast({{ bulk_litres }} as double) * {{ strength_percent }} / 100.0 as numeric(18, 2))
{%- endmacro %}


{#- A division that gives null for a zero divisor, and the same digits on every warehouse: DuckDB and Snowflake
    scale the quotient of two numerics differently. -#}
{% macro divide(dividend, divisor) -%}
    (cast({{ dividend }} as double) / nullif(cast({{ divisor }} as double), 0))
{%- endmacro %}
