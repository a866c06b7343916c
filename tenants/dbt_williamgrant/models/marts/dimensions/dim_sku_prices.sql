-- The ERP overwrites a price in place; the snapshot remembers what it was, so that old margins can be explained.
with

price_versions as (

    select * from {{ ref('snap_price_list') }}

),

numbered_versions as (

    select
        sku_id,
        row_number() over (partition by sku_id order by dbt_valid_from) as price_version,
        list_price_per_case_gbp,
        lag(list_price_per_case_gbp) over (
            partition by sku_id order by dbt_valid_from
        ) as previous_list_price_per_case_gbp,
        dbt_valid_from,
        dbt_valid_to
    from price_versions

),

final as (

    select
        {{ surrogate_key(['sku_id', 'price_version']) }} as sku_price_key,
        sku_id,
        cast(price_version as integer) as price_version,
        cast(list_price_per_case_gbp as numeric(18, 2)) as list_price_per_case_gbp,
        cast(
            100 * ({{ divide('list_price_per_case_gbp', 'previous_list_price_per_case_gbp') }} - 1)
            as numeric(18, 2)
        ) as price_change_percent,
        cast(dbt_valid_from as timestamp) as valid_from,
        cast(dbt_valid_to as timestamp) as valid_to,
        dbt_valid_to is null as is_current
    from numbered_versions

)

select * from final
