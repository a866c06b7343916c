{#- One key of several columns: the md5 of their values, with a separator that keeps ('a', 'bc') from ('ab', 'c'). -#}
{% macro surrogate_key(columns) -%}
    md5(
        {%- for column in columns %}
        coalesce(cast({{ column }} as varchar), '(null)')
        {%- if not loop.last %} || '|' ||{% endif %}
        {%- endfor %}
    )
{%- endmacro %}
