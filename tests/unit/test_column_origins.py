"""Which columns a model's columns are made of, as its compiled SQL tells."""

from __future__ import annotations

import pytest

from dagster_apollo.lineage.columns import column_origins

ORDERS = ("shop", "main", "orders")
KNOWN = {ORDERS: ["id", "amount", "status"]}


def origins(sql: str, dialect: str = "duckdb", *, known: bool = True) -> dict[str, list[str]]:
    """By column, the columns as `table.column`."""
    found = column_origins(sql, dialect, KNOWN if known else {})
    return {name: [f"{one.table[2]}.{one.column}" for one in ones] for name, ones in found.items()}


def test_renamed_and_computed_columns_lead_to_what_they_are_made_of() -> None:
    sql = "select id as order_id, amount * 2 as twice, coalesce(status, id) as one_of from shop.main.orders"
    assert origins(sql) == {
        "order_id": ["orders.id"],
        "twice": ["orders.amount"],
        "one_of": ["orders.id", "orders.status"],
    }


def test_stars_are_spelt_out_where_the_columns_are_known() -> None:
    assert origins("with final as (select * from shop.main.orders) select * from final") == {
        "id": ["orders.id"],
        "amount": ["orders.amount"],
        "status": ["orders.status"],
    }
    assert list(origins("select * exclude (amount) from shop.main.orders")) == ["id", "status"]


def test_a_first_star_over_an_unknown_source_is_looked_through() -> None:
    sql = """
    with source as (select * from "shop"."main"."orders" where id > 1),
    renamed as (select id as order_id, amount from source)
    select * from renamed
    """
    assert origins(sql, known=False) == {"order_id": ["orders.id"], "amount": ["orders.amount"]}


def test_a_last_star_over_an_unknown_source_is_no_column() -> None:
    assert origins("select * from shop.main.orders", known=False) == {}


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "snowflake"])
def test_joins_and_unions_lead_to_all_their_tables(dialect: str) -> None:
    joined = "select o.id, c.name from shop.main.orders o left join shop.main.customers c on c.id = o.id"
    assert {name.lower(): [one.lower() for one in ones] for name, ones in origins(joined, dialect).items()} == {
        "id": ["orders.id"],
        "name": ["customers.name"],
    }
    union = "select id from shop.main.orders union all select id from shop.main.returns"
    found = {one.lower() for one in next(iter(origins(union, dialect).values()))}
    assert found == {"orders.id", "returns.id"}


@pytest.mark.parametrize("sql", ["", "no sql {{ at all", "select 1 as one"])
def test_what_has_no_origin_or_cannot_be_read_is_empty_and_no_error(sql: str) -> None:
    assert [ones for ones in origins(sql).values() if ones] == []
