{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key='depletion_key',
        on_schema_change='fail'
    )
}}

-- Merge: a restated month arrives under the key it already has, and replaces the figure that was wrong.
with

depletions as (

    select * from {{ ref('int_depletions_in_nine_litres') }}

    {% if is_incremental() %}
    -- the last day is read again, since more reports of that day may have come since
    where reported_on >= (select coalesce(max(reported_on), cast('1900-01-01' as date)) from {{ this }})
    {% endif %}

),

final as (

    select
        depletion_key,
        distributor_id,
        market_code,
        sku_id,
        brand_id,
        depletion_month,
        reported_on,
        cast(report_version as integer) as report_version,
        cast(cases_depleted as integer) as cases_depleted,
        cast(nine_litre_cases as numeric(18, 2)) as nine_litre_cases
    from depletions

)

select * from final
