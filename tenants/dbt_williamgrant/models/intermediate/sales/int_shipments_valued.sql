with

shipments as (

    select * from {{ ref('stg_shipments') }}

),

skus as (

    select * from {{ ref('stg_skus') }}

),

distributors as (

    select * from {{ ref('stg_distributors') }}

),

exchange_rates as (

    select * from {{ ref('ref_exchange_rates') }}

),

final as (

    select
        shipments.shipment_line_id,
        shipments.order_number,
        shipments.distributor_id,
        distributors.market_code,
        shipments.sku_id,
        skus.brand_id,
        shipments.shipped_on,
        shipments.shipment_month,
        shipments.cases,
        {{ nine_litre_cases('shipments.cases', 'skus.bottles_per_case', 'skus.bottle_size_ml') }} as nine_litre_cases,
        shipments.currency_code,
        cast(shipments.cases * shipments.net_price_per_case as numeric(18, 2)) as net_sales_invoiced,
        cast(
            cast(shipments.cases as double) * shipments.net_price_per_case * exchange_rates.gbp_per_unit
            as numeric(18, 2)
        ) as net_sales_gbp
    from shipments
    inner join skus
        on shipments.sku_id = skus.sku_id
    inner join distributors
        on shipments.distributor_id = distributors.distributor_id
    -- a left join, so that a rate missing for a month shows as a null that a test reports, not as a lost line
    left join exchange_rates
        on shipments.currency_code = exchange_rates.currency_code
        and shipments.shipment_month = exchange_rates.rate_month

)

select * from final
