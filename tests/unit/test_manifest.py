"""A manifest is kept as far as definitions need it, and what dagster-dbt stumbles over is put right."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from dagster_apollo.dbt.manifest import (
    dagster_name,
    is_asset,
    relation,
    run_id,
    selection_names,
    slim,
    slim_id,
    written_relations,
)
from tests.support.manifests import manifest, node, source, unit_test
from tests.support.recording import shop_manifest, shop_slim


def attached(*parts: dict[str, Any]) -> dict[str, str | None]:
    """Which node each test hangs on, by names."""
    nodes = slim(manifest(*parts))["nodes"]
    return {
        entry["name"]: entry["attached_node"].split(".")[-1] if entry["attached_node"] else None
        for entry in nodes.values()
        if entry["resource_type"] == "test"
    }


# ---- What is kept. ----


def test_what_definitions_need_not_is_left_out() -> None:
    kept = shop_slim()

    model = kept["nodes"]["model.shop.stg_customers"]
    assert {"raw_code", "compiled_code", "patch_path", "language", "unrendered_config"}.isdisjoint(model)
    assert model["description"] == "One row a customer."
    assert model["columns"]["customer_id"] == {"name": "customer_id", "description": "Key."}
    assert model["config"]["materialized"] == "view"


def test_the_manifest_that_came_in_is_left_as_it_was() -> None:
    whole = shop_manifest()
    before = copy.deepcopy(whole)

    slim(whole)

    assert whole == before


def test_slimming_is_the_same_every_time() -> None:
    assert json.dumps(shop_slim()) == json.dumps(shop_slim())


def test_nodes_that_are_neither_built_nor_tests_are_left_out() -> None:
    kept = slim(manifest(node("model", "a"), node("analysis", "b"), node("operation", "on-run-end-0")))

    assert list(kept["nodes"]) == ["model.shop.a"]


def test_every_parent_and_child_is_known() -> None:
    kept = shop_slim()
    known = {*kept["nodes"], *kept["sources"]}

    assert set(kept["parent_map"]) == set(kept["nodes"])
    assert set(kept["child_map"]) == known
    for parents in [*kept["parent_map"].values(), *kept["child_map"].values()]:
        assert known.issuperset(parents)
        assert len(parents) == len(set(parents))


def test_an_ephemeral_model_is_no_asset() -> None:
    assert not is_asset(node("model", "e", config={"materialized": "ephemeral"}))
    assert not is_asset(node("test", "t"))
    for kind in ("model", "seed", "snapshot"):
        assert is_asset(node(kind, "a"))


# ---- Relations. ----


def test_tables_are_compared_as_warehouses_compare_names() -> None:
    assert relation(node("model", "A", alias="B", schema="S", database="D")) == ("d", "s", "b")
    assert relation(source("t", identifier="RAW_T")) == ("db", "raw", "raw_t")
    assert relation(node("model", "a", database=None)) == ("", "main", "a")


def test_what_is_not_built_writes_nothing() -> None:
    written = written_relations(shop_slim())

    assert set(written.values()) == {
        "model.shop.after_broken",
        "model.shop.broken",
        "model.shop.customer_totals",
        "model.shop.order_log",
        "model.shop.stg_customers",
        "model.shop.stg_orders",
        "seed.shop.customers",
        "seed.shop.orders",
        "snapshot.shop.customers_history",
    }
    assert written["shop", "raw", "orders"] == "seed.shop.orders"


# ---- Sources that the project fills. ----


def test_a_source_that_a_seed_fills_leads_the_lineage_through() -> None:
    kept = shop_slim()

    assert kept["apollo"]["filled_sources"] == {"source.shop.raw.orders": "seed.shop.orders"}
    assert kept["nodes"]["model.shop.stg_orders"]["depends_on"]["nodes"] == ["seed.shop.orders"]
    assert kept["apollo"]["seeds_first"] == ["seed.shop.orders"]


def test_a_seed_that_its_readers_also_refer_to_need_not_come_first() -> None:
    seed, table = node("seed", "orders", schema="raw"), source("orders")
    through_source = node("model", "a", [table["unique_id"]])
    through_both = node("model", "a", [table["unique_id"], seed["unique_id"]])
    through_parent = [node("model", "p", [seed["unique_id"]]), node("model", "a", [table["unique_id"], "model.shop.p"])]

    assert slim(manifest(seed, table, through_source))["apollo"]["seeds_first"] == [seed["unique_id"]]
    assert slim(manifest(seed, table, through_both))["apollo"]["seeds_first"] == []
    assert slim(manifest(seed, table, *through_parent))["apollo"]["seeds_first"] == []


def test_a_model_that_reads_the_table_that_it_writes_is_not_its_own_parent() -> None:
    table = source("log")
    kept = slim(manifest(table, node("model", "log", [table["unique_id"]], schema="raw")))

    assert kept["nodes"]["model.shop.log"]["depends_on"]["nodes"] == [table["unique_id"]]
    assert kept["apollo"]["filled_sources"] == {}


def test_models_that_read_what_the_other_writes_make_no_circle() -> None:
    one, other = source("one"), source("other")
    kept = slim(
        manifest(
            one,
            other,
            node("model", "one", [other["unique_id"]], schema="raw"),
            node("model", "other", [one["unique_id"]], schema="raw"),
        )
    )

    parents = {key: entry["depends_on"]["nodes"] for key, entry in kept["nodes"].items()}
    assert not (parents["model.shop.one"] == ["model.shop.other"] and parents["model.shop.other"] == ["model.shop.one"])


def test_a_parent_that_is_disabled_is_no_parent() -> None:
    kept = slim(manifest(node("model", "a", ["model.shop.disabled", "seed.shop.s"]), node("seed", "s")))

    assert kept["nodes"]["model.shop.a"]["depends_on"]["nodes"] == ["seed.shop.s"]


# ---- Which asset a test is a check of. ----


def test_a_test_hangs_on_the_model_that_dbt_attached_it_to() -> None:
    assert attached(
        node("model", "a"), node("model", "b", ["model.shop.a"]),
        node("test", "t", ["model.shop.a", "model.shop.b"], attached_node="model.shop.a"),
    ) == {"t": "a"}  # fmt: skip


def test_a_test_of_several_hangs_on_the_one_that_is_built_last() -> None:
    chain = [node("model", "z"), node("model", "m", ["model.shop.z"]), node("model", "a", ["model.shop.m"])]

    assert attached(*chain, node("test", "t", ["model.shop.z", "model.shop.a", "model.shop.m"])) == {"t": "a"}


def test_a_test_of_an_ephemeral_model_hangs_on_the_nearest_that_is_built() -> None:
    ephemeral = node("model", "e", ["model.shop.a"], config={"materialized": "ephemeral"})
    test = node("test", "t", ["model.shop.e"], attached_node="model.shop.e")

    assert attached(node("model", "a"), ephemeral, test) == {"t": "a"}
    rootless = node("model", "e", config={"materialized": "ephemeral"})
    assert attached(rootless, node("model", "after", ["model.shop.e"]), test) == {"t": "after"}
    assert attached(rootless, test) == {"t": None}


def test_a_test_of_a_source_hangs_on_the_source_or_on_what_fills_it() -> None:
    table = source("orders")
    test = node("test", "t", [table["unique_id"]])

    assert attached(table, test) == {"t": "orders"}
    assert slim(manifest(table, test))["nodes"]["test.shop.t"]["attached_node"] == table["unique_id"]
    seed = node("seed", "orders", schema="raw")
    assert slim(manifest(table, seed, test))["nodes"]["test.shop.t"]["attached_node"] == seed["unique_id"]


def test_a_test_of_nothing_is_remembered_as_one() -> None:
    kept = shop_slim()

    assert kept["apollo"]["unattached_tests"] == ["test.shop.the_world_is_round"]


def test_a_tests_own_wish_for_another_asset_is_not_heard() -> None:
    wish = {"dagster": {"ref": {"name": "b"}}, "kept": 1}
    kept = slim(manifest(node("model", "a"), node("test", "t", ["model.shop.a"], meta=wish, config={"meta": wish})))

    assert kept["nodes"]["test.shop.t"]["meta"] == {}
    assert kept["nodes"]["test.shop.t"]["config"]["meta"] == {"kept": 1}


def test_the_child_map_leads_from_an_asset_to_its_tests() -> None:
    kept = shop_slim()

    assert "test.shop.unique_paid_orders_order_id.873562ab89" in kept["child_map"]["model.shop.stg_orders"]
    assert (
        "test.unit_test.shop.customer_totals.a_customer_without_orders_has_zero"
        in kept["child_map"]["model.shop.customer_totals"]
    )


# ---- Unit tests. ----


def test_a_unit_test_is_a_test_of_its_model_that_cannot_be_a_warning() -> None:
    kept = slim(manifest(node("model", "a"), unit_test("adds_up", "a", config={"severity": "warn"})))

    entry = kept["nodes"]["test.unit_test.shop.a.adds_up"]
    assert (entry["resource_type"], entry["attached_node"]) == ("test", "model.shop.a")
    assert entry["config"]["severity"] == "error"
    assert entry["description"] == "Unit test of a"
    assert kept["unit_tests"] == {}


@pytest.mark.parametrize("unique_id", ["unit_test.shop.a.t", "test.shop.t.1a2b", "model.shop.unit_test", "seed.shop.s"])
def test_dbts_own_id_is_found_again(unique_id: str) -> None:
    assert run_id(slim_id(unique_id)) == unique_id
    assert slim_id(run_id(slim_id(unique_id))) == slim_id(unique_id)


# ---- Names. ----


@pytest.mark.parametrize(
    ("text", "name"), [("a_1", "a_1"), ("a-b.c d", "a_b_c_d"), ("préçis", "pr__is"), ("", "_"), ("äöü", "___")]
)
def test_a_name_for_dagster_is_letters_digits_and_underscores(text: str, name: str) -> None:
    assert dagster_name(text) == name


def test_two_tests_of_one_model_whose_names_fold_keep_two_names() -> None:
    tests = [
        node("test", name, ["model.shop.a"], unique_id=f"test.shop.{name}.{number}")
        for number, name in enumerate(["not-null", "not.null", "not_null"])
    ]
    kept = slim(manifest(node("model", "a"), node("model", "b"), *tests, node("test", "not_null", ["model.shop.b"])))

    names = [entry["name"] for key, entry in kept["nodes"].items() if entry.get("attached_node") == "model.shop.a"]
    assert len(set(names)) == 3
    assert "not_null" in names
    assert all(name.startswith("not_null") and dagster_name(name) == name for name in names)
    assert kept["nodes"]["test.shop.not_null"]["name"] == "not_null", "another model's test need not give way"


# ---- Selecting exactly these. ----


def test_a_selection_names_each_node_by_its_whole_path() -> None:
    kept = slim(manifest(node("model", "a", fqn=["shop", "marts", "a"]), node("seed", "b"), source("c")))

    assert selection_names(kept, ["seed.shop.b", "model.shop.a", "source.shop.raw.c"]) == [
        "fqn:shop.b",
        "fqn:shop.marts.a",
        "fqn:shop.raw.c",
    ]
    assert selection_names(kept, []) == []


def test_a_model_beside_a_folder_of_its_name_is_selected_alone() -> None:
    kept = slim(manifest(node("model", "marts"), node("model", "a", fqn=["shop", "marts", "a"])))

    assert selection_names(kept, ["model.shop.marts"]) == ["fqn:shop.mart[s]"]


def test_what_the_selection_syntax_would_read_otherwise_is_masked() -> None:
    kept = slim(
        manifest(node("test", "t", ["model.shop.a"], fqn=["shop", "sums to +1, *really* @ 50%:x"]), node("model", "a"))
    )

    [word] = selection_names(kept, ["test.shop.t"])
    assert word == "fqn:shop.sums?to??1???really????50??x"
