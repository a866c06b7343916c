-- depends_on: {{ ref('raw_price_list') }}

with

source as (

    select * from {{ source('erp', 'price_list') }}

),

final as (

    select
        sku_id,
        list_price_per_case_gbp,
        updated_at
    from source

)

select * from final
