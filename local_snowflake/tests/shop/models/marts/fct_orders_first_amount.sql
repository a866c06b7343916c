{{ config(materialized='incremental', unique_key='order_id', merge_exclude_columns=['first_amount'],
    incremental_predicates=['DBT_INTERNAL_DEST.order_id > 0']) }}
select order_id, amount as first_amount, amount, loaded_at
from {{ ref('stg_orders') }}
{% if is_incremental() %}
where loaded_at > (select max(loaded_at) from {{ this }})
{% endif %}
