"""Tables that two tenants would write, and schemas that a project leaves to chance, are found before anything runs."""

from __future__ import annotations

from typing import Any

from dagster_apollo.dbt.manifest import slim
from dagster_apollo.dbt.relations import crossings, schema_problems
from tests.support.manifests import Node, manifest, node, source


def kept(*parts: Node, adapter: str = "snowflake") -> dict[str, Any]:
    return slim(manifest(*parts, adapter=adapter))


def crossed(**tenants: tuple[str, dict[str, Any]]) -> dict[str, list[str]]:
    return {name: [problem.what for problem in problems] for name, problems in crossings(tenants).items()}


def test_two_tenants_that_would_write_one_table_are_both_told() -> None:
    table = kept(node("model", "a", schema="marts"))

    assert crossed(shop=("acme", table), cellar=("acme", table)) == {
        "cellar": ["would write the same table as tenants/shop: db.marts.a"],
        "shop": ["would write the same table as tenants/cellar: db.marts.a"],
    }


def test_names_that_the_warehouse_folds_are_one_table() -> None:
    one, other = kept(node("model", "a", alias="Totals")), kept(node("seed", "totals", schema="MAIN", database="DB"))

    assert set(crossed(shop=("acme", one), cellar=("acme", other))) == {"shop", "cellar"}


def test_another_place_database_schema_or_name_is_another_table() -> None:
    one = kept(node("model", "a"))

    assert crossed(shop=("acme", one), cellar=("other", one)) == {}
    for other in (node("model", "a", database="d2"), node("model", "a", schema="s2"), node("model", "b")):
        assert crossed(shop=("acme", one), cellar=("acme", kept(other))) == {}


def test_what_is_only_read_is_shared_freely() -> None:
    reader = kept(source("a", schema="main"), node("model", "b", ["source.shop.raw.a"]))
    ephemeral = kept(node("model", "a", config={"materialized": "ephemeral"}), node("model", "c"))

    assert crossed(shop=("acme", kept(node("model", "a"))), cellar=("acme", reader), press=("acme", ephemeral)) == {}


def test_three_tenants_are_told_of_each_other_and_a_long_list_is_cut() -> None:
    tables = kept(*(node("model", f"m{number}") for number in range(5)))

    told = crossed(shop=("acme", tables), cellar=("acme", tables), press=("acme", tables))

    assert {name: len(problems) for name, problems in told.items()} == {"shop": 2, "cellar": 2, "press": 2}
    assert told["shop"][0].endswith(": db.main.m0, db.main.m1, db.main.m2 and 2 more")


def test_a_schema_that_comes_out_empty_or_half_is_told_on_snowflake() -> None:
    [problem] = schema_problems(
        "shop",
        kept(
            node("model", "no_schema", schema=""),
            node("seed", "half", schema="_marts"),
            node("model", "well", schema="marts"),
            node("model", "fine", schema="a_b"),
        ),
    )

    assert problem.where == "tenants/shop"
    assert problem.what.startswith("on Snowflake the schema of half, no_schema comes out empty or beginning with `_`")
    for way_out in ("+schema", "generate_schema_name", "DBT_SCHEMA"):
        assert way_out in problem.remedy


def test_where_there_is_nothing_to_be_said_nothing_is_said() -> None:
    ephemeral = node("model", "e", schema="", config={"materialized": "ephemeral"})

    assert (
        schema_problems("shop", kept(ephemeral, node("test", "t", schema="_dbt_test__audit"), node("model", "a"))) == []
    )
    assert schema_problems("shop", kept(node("model", "a", schema=""), adapter="duckdb")) == []
