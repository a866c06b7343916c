{#- Fails for each combination of columns that stands on more than one row: the grain a model promises. -#}
{% test one_row_per(model, columns) %}

select
    {{ columns | join(',\n    ') }},
    count(*) as number_of_rows
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
