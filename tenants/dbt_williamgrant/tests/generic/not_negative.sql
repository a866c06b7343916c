{#- Fails for each row in which a quantity is below zero. Nulls pass: not_null is a test of its own. -#}
{% test not_negative(model, column_name) %}

select *
from {{ model }}
where {{ column_name }} < 0

{% endtest %}
