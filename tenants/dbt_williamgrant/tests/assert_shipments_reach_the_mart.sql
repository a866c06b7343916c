-- No shipment line may be lost or doubled on its way through the joins to the mart.
with

shipped as (

    select
        count(*) as number_of_lines,
        sum(cases) as cases
    from {{ ref('stg_shipments') }}

),

in_mart as (

    select
        count(*) as number_of_lines,
        sum(cases) as cases
    from {{ ref('fct_shipments') }}

)

select
    shipped.number_of_lines as lines_shipped,
    in_mart.number_of_lines as lines_in_mart,
    shipped.cases as cases_shipped,
    in_mart.cases as cases_in_mart
from shipped
cross join in_mart
where shipped.number_of_lines != in_mart.number_of_lines
    or shipped.cases != in_mart.cases
