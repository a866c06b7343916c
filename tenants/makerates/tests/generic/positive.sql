{#- Fails for each row in which a rate is zero or below. Nulls pass: not_null is a test of its own. -#}
{% test positive(model, column_name) %}

select *
from {{ model }}
where {{ column_name }} <= 0

{% endtest %}
