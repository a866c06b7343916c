with

shipments as (

    select * from {{ ref('int_shipments_valued') }}

),

final as (

    select
        shipment_line_id,
        order_number,
        distributor_id,
        market_code,
        sku_id,
        brand_id,
        shipped_on,
        shipment_month,
        cast(cases as integer) as cases,
        cast(nine_litre_cases as numeric(18, 2)) as nine_litre_cases,
        currency_code,
        cast(net_sales_invoiced as numeric(18, 2)) as net_sales_invoiced,
        cast(net_sales_gbp as numeric(18, 2)) as net_sales_gbp
    from shipments

)

select * from final
