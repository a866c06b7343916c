{#- DuckDB does not tell dbt how many rows a statement wrote, so a table is counted, once it is built and inside its
    transaction; a line of this form becomes metadata of the asset. Views hold no rows of their own. -#}
{% macro tell_row_count() %}
    {%- if execute and model.config.materialized in ('table', 'incremental') -%}
        {%- set counted = run_query('select count(*) from ' ~ this) -%}
        {%- do log('row_count: ' ~ counted.columns[0].values()[0]) -%}
    {%- endif -%}
{% endmacro %}
