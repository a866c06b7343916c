with

shipments as (

    select
        brand_id,
        market_code,
        shipment_month as sales_month,
        nine_litre_cases as shipped_nine_litre_cases,
        net_sales_gbp,
        cast(0 as numeric(18, 2)) as depleted_nine_litre_cases
    from {{ ref('int_shipments_valued') }}

),

depletions as (

    select
        brand_id,
        market_code,
        depletion_month as sales_month,
        cast(0 as numeric(18, 2)) as shipped_nine_litre_cases,
        cast(0 as numeric(18, 2)) as net_sales_gbp,
        nine_litre_cases as depleted_nine_litre_cases
    from {{ ref('int_depletions_in_nine_litres') }}

),

shipments_and_depletions as (

    select * from shipments
    union all
    select * from depletions

),

-- The current month is left out: it is not over, and a part of a month beside whole ones misleads.
closed_months as (

    select month_start
    from {{ ref('int_months') }}

),

final as (

    select
        sales.brand_id,
        sales.market_code,
        sales.sales_month,
        cast(sum(sales.shipped_nine_litre_cases) as numeric(18, 2)) as shipped_nine_litre_cases,
        cast(sum(sales.net_sales_gbp) as numeric(18, 2)) as net_sales_gbp,
        cast(sum(sales.depleted_nine_litre_cases) as numeric(18, 2)) as depleted_nine_litre_cases
    from shipments_and_depletions as sales
    inner join closed_months
        on sales.sales_month = closed_months.month_start
    group by
        sales.brand_id,
        sales.market_code,
        sales.sales_month

)

select * from final
