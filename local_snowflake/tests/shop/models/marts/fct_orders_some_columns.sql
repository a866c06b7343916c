{{ config(materialized='incremental', unique_key=['order_id'], merge_update_columns=['status', 'loaded_at']) }}
select order_id, amount, status, loaded_at
from {{ ref('stg_orders') }}
{% if is_incremental() %}
where loaded_at > (select max(loaded_at) from {{ this }})
{% endif %}
