{{ config(materialized='incremental', incremental_strategy='append') }}
select order_id, status, loaded_at
from {{ ref('stg_orders') }}
{% if is_incremental() %}
where loaded_at > (select max(loaded_at) from {{ this }})
{% endif %}
