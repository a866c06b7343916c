-- How long each distributor's stock lasts at the pace of the last three months: the list a sales manager rings from.
with

stock as (

    select * from {{ ref('fct_distributor_stock') }}

),

distributors as (

    select * from {{ ref('dim_distributors') }}

),

skus as (

    select * from {{ ref('dim_skus') }}

),

with_pace as (

    select
        stock.*,
        avg(cast(stock.cases_depleted as double)) over (
            partition by stock.distributor_id, stock.sku_id
            order by stock.stock_month
            rows between 2 preceding and current row
        ) as monthly_depletions
    from stock

),

latest_counts as (

    select *
    from with_pace
    qualify row_number() over (partition by distributor_id, sku_id order by stock_month desc) = 1

),

with_cover as (

    select
        *,
        {{ divide('cases_on_hand', 'monthly_depletions') }} as months_of_cover
    from latest_counts

),

final as (

    select
        with_cover.stock_key,
        with_cover.distributor_id,
        distributors.distributor_name,
        distributors.market_code,
        with_cover.sku_id,
        skus.sku_name,
        with_cover.stock_month,
        cast(with_cover.cases_on_hand as integer) as cases_on_hand,
        cast(with_cover.monthly_depletions as numeric(18, 2)) as monthly_depletions,
        cast(with_cover.months_of_cover as numeric(18, 2)) as months_of_cover,
        case
            when with_cover.cases_on_hand = 0 then 'out_of_stock'
            when with_cover.months_of_cover is null then 'not_selling'
            when with_cover.months_of_cover < 1.5 then 'low'
            when with_cover.months_of_cover <= 4 then 'healthy'
            else 'overstocked'
        end as cover_status,
        cast(with_cover.cases_on_hand * skus.list_price_per_case_gbp as numeric(18, 2)) as stock_value_gbp
    from with_cover
    inner join distributors
        on with_cover.distributor_id = distributors.distributor_id
    inner join skus
        on with_cover.sku_id = skus.sku_id

)

select * from final
