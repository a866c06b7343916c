"""Tables under the names that OpenLineage gives them."""

from __future__ import annotations

from typing import Any

import pytest

from dagster_apollo.lineage.datasets import warehouse

NODE = {"database": "shop", "schema": "main", "name": "orders", "alias": "orders"}


@pytest.mark.parametrize(
    ("output", "namespace"),
    [
        ({"type": "snowflake", "account": "acme-prod"}, "snowflake://acme-prod"),
        ({"type": "postgres", "host": "db", "port": 5433}, "postgres://db:5433"),
        ({"type": "duckdb", "path": "/data/shop.duckdb"}, "duckdb:///data/shop.duckdb"),
    ],
)
def test_a_table_is_named_by_its_server_and_its_full_name(output: dict[str, Any], namespace: str) -> None:
    assert warehouse(output).name(NODE) == (namespace, "shop.main.orders")


def test_a_table_in_an_attached_postgres_is_named_as_that_server_knows_it() -> None:
    output = {
        "type": "duckdb",
        "path": "/data/shop.duckdb",
        "attach": [
            {"alias": "postgres", "type": "postgres", "secret": "apollo_postgres", "path": "connect_timeout='10'"}
        ],
        "secrets": [
            {"type": "s3", "name": "apollo_s3", "secret": "not read"},
            {"type": "postgres", "name": "apollo_postgres", "host": "db", "port": "5432", "database": "marts"},
        ],
    }
    there = warehouse(output)
    assert there.name({**NODE, "database": "postgres"}) == ("postgres://db:5432", "marts.main.orders")
    assert there.name(NODE) == ("duckdb:///data/shop.duckdb", "shop.main.orders")


def test_a_source_is_named_by_its_table_and_not_by_dbts_word_for_it() -> None:
    source = {"database": "shop", "schema": "raw", "name": "orders", "identifier": "ORDERS_V2"}
    assert warehouse({"type": "duckdb", "path": "x"}).name(source)[1] == "shop.raw.ORDERS_V2"
