-- depends_on: {{ ref('raw_depletions') }}

with

source as (

    select * from {{ source('distributor_portal', 'depletions') }}

),

-- A distributor restates a month by reporting it again: the latest report known on the day counts.
latest_reports as (

    select *
    from source
    where reported_on <= {{ as_of_date() }}
    qualify row_number() over (
        partition by distributor_id, sku_id, depletion_month
        order by report_version desc
    ) = 1

),

final as (

    select
        {{ surrogate_key(['distributor_id', 'sku_id', 'depletion_month']) }} as depletion_key,
        report_number,
        distributor_id,
        sku_id,
        depletion_month,
        report_version,
        reported_on,
        cases_depleted
    from latest_reports

)

select * from final
