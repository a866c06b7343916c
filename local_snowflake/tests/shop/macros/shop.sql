{% test has_rows(model) %}
select 1 as x from (select count(*) as c from {{ model }}) where c = 0
{% endtest %}

{% macro generate_schema_name(custom, node) %}{{ target.schema if custom is none else custom }}{% endmacro %}
