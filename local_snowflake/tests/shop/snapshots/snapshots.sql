{% snapshot snap_customers %}
{{ config(unique_key='id', strategy='timestamp', updated_at='updated_at', hard_deletes='invalidate', schema='SNAP') }}
select id, name, country, email, updated_at from {{ ref('stg_customers') }}
{% endsnapshot %}

{% snapshot snap_orders %}
{{ config(
    unique_key='order_id', strategy='check', check_cols=['status', 'amount'], hard_deletes='new_record', schema='SNAP'
) }}
select order_id, status, amount from {{ ref('stg_orders') }}
{% endsnapshot %}
