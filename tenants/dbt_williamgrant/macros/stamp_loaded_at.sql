{#- Post-hook of every raw seed: notes when its rows were loaded, as an ingestion tool would.
    The CSV files leave `_loaded_at` empty, since a fixed date would go stale; source freshness reads this column. -#}
{% macro stamp_loaded_at() -%}
    update {{ this }} set _loaded_at = {{ utc_now() }} where _loaded_at is null
{%- endmacro %}


{% macro utc_now() -%}
    {{ return(adapter.dispatch('utc_now', 'dbt_williamgrant')()) }}
{%- endmacro %}

{% macro duckdb__utc_now() -%}
    cast(now() at time zone 'UTC' as timestamp)
{%- endmacro %}

{% macro snowflake__utc_now() -%}
    cast(convert_timezone('UTC', current_timestamp()) as timestamp_ntz)
{%- endmacro %}
