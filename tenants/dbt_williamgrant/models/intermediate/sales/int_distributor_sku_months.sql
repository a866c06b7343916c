{{ config(materialized='table') }}

-- What a distributor should have of a SKU at the end of a month, and what was counted: the two-sided ledger
-- that finds unreported sales, breakage and lost pallets.
with

months as (

    select * from {{ ref('int_months') }}

),

stock_counts as (

    select * from {{ ref('stg_distributor_stock') }}

),

shipments as (

    select
        distributor_id,
        sku_id,
        shipment_month,
        cast(sum(cases) as integer) as cases_shipped
    from {{ ref('stg_shipments') }}
    group by
        distributor_id,
        sku_id,
        shipment_month

),

depletions as (

    select * from {{ ref('stg_depletions') }}

),

listings as (

    select distinct
        distributor_id,
        sku_id
    from stock_counts

),

ledger as (

    select
        listings.distributor_id,
        listings.sku_id,
        months.month_start as stock_month,
        coalesce(shipments.cases_shipped, 0) as cases_shipped,
        depletions.cases_depleted,
        stock_counts.counted_on,
        stock_counts.cases_on_hand,
        lag(stock_counts.cases_on_hand) over (
            partition by listings.distributor_id, listings.sku_id
            order by months.month_start
        ) as opening_cases
    from listings
    cross join months
    left join stock_counts
        on listings.distributor_id = stock_counts.distributor_id
        and listings.sku_id = stock_counts.sku_id
        and months.month_start = stock_counts.stock_month
    left join shipments
        on listings.distributor_id = shipments.distributor_id
        and listings.sku_id = shipments.sku_id
        and months.month_start = shipments.shipment_month
    left join depletions
        on listings.distributor_id = depletions.distributor_id
        and listings.sku_id = depletions.sku_id
        and months.month_start = depletions.depletion_month

),

final as (

    select
        {{ surrogate_key(['distributor_id', 'sku_id', 'stock_month']) }} as stock_key,
        distributor_id,
        sku_id,
        stock_month,
        counted_on,
        opening_cases,
        cases_shipped,
        cases_depleted,
        opening_cases + cases_shipped - cases_depleted as expected_cases,
        cases_on_hand,
        cases_on_hand - (opening_cases + cases_shipped - cases_depleted) as variance_cases
    from ledger
    where cases_on_hand is not null

)

select * from final
