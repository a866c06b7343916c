{#- A node's schema is the one its +schema names, in every target: `marts` is `marts`, never `<target schema>_marts`.
    The profile's own schema may be empty: it is the answer only for what has no +schema, and no node here has none. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if custom_schema_name is none -%}
        {{ target.schema }}
    {%- else -%}
        {{ custom_schema_name | trim }}
    {%- endif -%}
{%- endmacro %}
