{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='stock_month',
        on_schema_change='fail'
    )
}}

-- Delete and insert by month: a distributor sends a month's whole count again, and a line may be missing from it
-- that stood in the one before. A merge by row would keep that line.
with

stock as (

    select * from {{ ref('int_distributor_sku_months') }}

    {% if is_incremental() %}
    where stock_month > (
        select
            {{ add_months(
                "coalesce(max(stock_month), cast('1900-01-01' as date))", '-' ~ var('stock_months_open')
            ) }}
        from {{ this }}
    )
    {% endif %}

),

final as (

    select
        stock_key,
        distributor_id,
        sku_id,
        stock_month,
        counted_on,
        cast(opening_cases as integer) as opening_cases,
        cast(cases_shipped as integer) as cases_shipped,
        cast(cases_depleted as integer) as cases_depleted,
        cast(expected_cases as integer) as expected_cases,
        cast(cases_on_hand as integer) as cases_on_hand,
        cast(variance_cases as integer) as variance_cases
    from stock

)

select * from final
