with

sales as (

    select * from {{ ref('int_brand_market_months') }}

),

brands as (

    select * from {{ ref('dim_brands') }}

),

markets as (

    select * from {{ ref('dim_markets') }}

),

sales_and_year_before as (

    select
        sales.*,
        year_before.depleted_nine_litre_cases as depleted_nine_litre_cases_year_before,
        sum(sales.depleted_nine_litre_cases) over (
            partition by sales.market_code, sales.sales_month
        ) as market_depleted_nine_litre_cases
    from sales
    left join sales as year_before
        on sales.brand_id = year_before.brand_id
        and sales.market_code = year_before.market_code
        and sales.sales_month = {{ add_months('year_before.sales_month', 12) }}

),

final as (

    select
        {{ surrogate_key(['sales.brand_id', 'sales.market_code', 'sales.sales_month']) }} as brand_market_month_key,
        sales.brand_id,
        brands.brand_name,
        brands.spirit_category,
        sales.market_code,
        markets.sales_region,
        sales.sales_month,
        cast(sales.shipped_nine_litre_cases as numeric(18, 2)) as shipped_nine_litre_cases,
        cast(sales.depleted_nine_litre_cases as numeric(18, 2)) as depleted_nine_litre_cases,
        cast(sales.net_sales_gbp as numeric(18, 2)) as net_sales_gbp,
        cast(
            {{ divide('sales.net_sales_gbp', 'sales.shipped_nine_litre_cases') }} as numeric(18, 2)
        ) as net_sales_per_nine_litre_case_gbp,
        cast(sales.depleted_nine_litre_cases_year_before as numeric(18, 2)) as depleted_nine_litre_cases_year_before,
        cast(
            100 * ({{ divide('sales.depleted_nine_litre_cases', 'sales.depleted_nine_litre_cases_year_before') }} - 1)
            as numeric(18, 2)
        ) as depletions_growth_percent,
        cast(
            100 * {{ divide('sales.depleted_nine_litre_cases', 'sales.market_depleted_nine_litre_cases') }}
            as numeric(18, 2)
        ) as share_of_market_percent
    from sales_and_year_before as sales
    inner join brands
        on sales.brand_id = brands.brand_id
    inner join markets
        on sales.market_code = markets.market_code

)

select * from final
