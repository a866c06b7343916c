{#- Fails for each row whose value is outside `at_least` and `at_most`, both of them allowed values. -#}
{% test within(model, column_name, at_least, at_most) %}

select *
from {{ model }}
where not ({{ column_name }} between {{ at_least }} and {{ at_most }})

{% endtest %}
