{#- The days that a run is for: a partition's, or, in a backfill of one run, all of them. Without any, all days.
    partition_start is the first day, partition_end the day after the last one. -#}
{% macro within_partition(at) -%}
    {%- if var('partition_start', none) -%}
        {{ at }} >= cast('{{ var("partition_start") }}' as timestamp)
        and {{ at }} < cast('{{ var("partition_end") }}' as timestamp)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
