"""dbt's nodes have names, groups, owners and descriptions that Dagster takes, and no two of them one key."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from dagster_apollo.dbt.manifest import slim
from dagster_apollo.dbt.translation import TenantTranslator, asset_keys
from dagster_apollo.errors import TenantError
from tests.support.manifests import manifest, node, source, unit_test
from tests.support.recording import shop_slim


def keys_of(*parts: dict[str, Any]) -> dict[str, str]:
    return {key: "/".join(found.path) for key, found in asset_keys("acme", slim(manifest(*parts))).items()}


def spec_of(kept: dict[str, Any], unique_id: str, owner: str | None = None) -> dg.AssetSpec:
    return TenantTranslator("acme", kept, owner).get_asset_spec(kept, unique_id, None)


# ---- Keys. ----


def test_a_key_is_the_tenant_and_then_dbts_own() -> None:
    keys = {key: list(found.path) for key, found in asset_keys("acme", shop_slim()).items()}

    assert keys["model.shop.stg_customers"] == ["acme", "staging", "stg_customers"]
    assert keys["seed.shop.customers"] == ["acme", "raw", "customers"]
    assert keys["snapshot.shop.customers_history"] == ["acme", "history", "customers_history"]
    assert keys["source.shop.raw.clicks"] == ["acme", "raw", "clicks"]
    assert not [key for key in keys if key.startswith("test.") or "paid_orders" in key], "neither is an asset"


def test_a_node_without_a_schema_of_its_own_has_its_name_alone() -> None:
    assert keys_of(node("model", "a")) == {"model.shop.a": "acme/a"}


def test_a_versions_number_is_in_its_key() -> None:
    versions = [
        node("model", "a", unique_id=f"model.shop.a.v{number}", version=number, latest_version=2, alias=f"a_v{number}")
        for number in (1, 2)
    ]

    assert sorted(keys_of(*versions).values()) == ["acme/a_v1", "acme/a_v2"]


def test_what_dagster_does_not_take_in_a_key_is_respelt() -> None:
    assert keys_of(node("seed", "my seed-1.0", config={"schema": "a b"})) == {
        "seed.shop.my seed-1.0": "acme/a_b/my_seed_1_0"
    }


def test_a_model_keeps_the_key_that_a_seed_and_a_source_would_have_too() -> None:
    keys = keys_of(
        node("seed", "orders", config={"schema": "raw"}, schema="elsewhere"),
        node("model", "orders", config={"schema": "raw"}),
        node("snapshot", "orders", config={"schema": "raw"}),
        source("orders"),
    )

    assert keys == {
        "model.shop.orders": "acme/raw/orders",
        "snapshot.shop.orders": "acme/raw/orders_snapshot",
        "seed.shop.orders": "acme/raw/orders_seed",
        "source.shop.raw.orders": "acme/raw/orders_source",
    }


def test_models_of_two_packages_with_one_name_are_told_apart_by_the_package() -> None:
    keys = keys_of(node("model", "dates"), node("model", "dates", package="date-tools"))

    assert sorted(keys.values()) == ["acme/dates", "acme/dates_model_shop"]
    assert keys["model.date-tools.dates"] == "acme/dates", "who keeps the plain key follows from the ids alone"


def test_keys_that_differ_in_case_alone_are_told_apart() -> None:
    keys = keys_of(node("model", "Orders"), node("model", "orders"))

    assert len({key.lower() for key in keys.values()}) == 2


def test_keys_that_fold_to_one_output_name_are_told_apart() -> None:
    keys = keys_of(node("model", "b__c"), node("model", "c", config={"schema": "b"}))

    assert len({key.replace("/", "__") for key in keys.values()}) == 2


def test_a_spelling_that_is_taken_too_gets_a_hash_that_stays() -> None:
    parts = [node("model", "a"), node("seed", "a"), node("model", "a_seed")]

    keys = keys_of(*parts)

    assert keys["model.shop.a_seed"] == "acme/a_seed"
    assert keys["seed.shop.a"].startswith("acme/a_seed_")
    assert keys == keys_of(*reversed(parts))


# ---- Groups. ----


@pytest.mark.parametrize(
    ("part", "group"),
    [
        (node("model", "a", fqn=["shop", "marts", "sales", "a"]), "marts"),
        (node("model", "a", fqn=["shop", "my marts", "a"]), "my_marts"),
        (node("model", "a", config={"group": "finance"}), "finance"),
        (node("seed", "a"), "seeds"),
        (node("snapshot", "a"), "snapshots"),
        (source("a"), "sources"),
        (node("seed", "a", config={"group": "fin-ance"}), "fin_ance"),
    ],
)
def test_a_group_is_dbts_or_the_folder_or_the_kind(part: dict[str, Any], group: str) -> None:
    groups = {
        f"group.shop.{name}": {"name": name, "package_name": "shop", "owner": {"name": "X", "email": None}}
        for name in ("finance", "fin-ance")
    }
    kept = slim(manifest({**part, **({"group": part["config"]["group"]} if "group" in part["config"] else {})},
                         groups=groups))  # fmt: skip

    assert spec_of(kept, part["unique_id"]).group_name == group


# ---- Owners. ----


@pytest.mark.parametrize(
    ("named", "owners"),
    [
        (["ada@example.com"], ["ada@example.com"]),
        (["team:data"], ["team:data"]),
        (["Data Platform"], ["team:Data-Platform"]),
        (["team:Data Platform"], ["team:Data-Platform"]),
        (["@acme/data", "ada@example.com"], ["team:-acme-data", "ada@example.com"]),
    ],
)
def test_an_owner_is_an_address_or_a_team_that_dagster_takes(named: list[str], owners: list[str]) -> None:
    kept = slim(manifest(node("model", "a", meta={"dagster": {"owners": named}})))

    assert list(spec_of(kept, "model.shop.a", "team:fallback").owners) == owners


def test_a_groups_owner_is_the_owner_and_the_tenants_is_the_last_resort() -> None:
    kept = shop_slim()

    assert list(spec_of(kept, "model.shop.customer_totals", "team:us").owners) == ["finance@example.com"]
    assert list(spec_of(kept, "model.shop.stg_customers", "team:us").owners) == ["team:us"]
    assert list(spec_of(kept, "model.shop.stg_customers").owners) == []


def test_a_groups_owner_without_an_address_is_a_team() -> None:
    group = {"group.shop.g": {"name": "g", "package_name": "shop", "owner": {"name": "Data Platform", "email": None}}}
    kept = slim(manifest(node("model", "a", group="g", config={"group": "g"}), groups=group))

    assert list(spec_of(kept, "model.shop.a").owners) == ["team:Data-Platform"]


# ---- The rest. ----


def test_descriptions_columns_and_lineage_are_dbts() -> None:
    kept = shop_slim()

    spec = spec_of(kept, "model.shop.stg_customers")
    assert spec.description == "One row a customer."
    columns = {column.name: column.description for column in spec.metadata["dagster/column_schema"].columns}
    assert columns == {"customer_id": "Key."}
    assert {dep.asset_key for dep in spec.deps} == {dg.AssetKey(["acme", "raw", "customers"])}
    assert spec_of(kept, "model.shop.broken").description == "dbt model"


def test_an_ephemeral_model_is_passed_through() -> None:
    assert {dep.asset_key for dep in spec_of(shop_slim(), "model.shop.order_log").deps} == {
        dg.AssetKey(["acme", "staging", "stg_orders"])
    }


def test_tags_that_dagster_does_not_take_keep_no_tenant_from_being_served() -> None:
    kept = slim(manifest(node("model", "a", tags=["daily", "cost center: 7/b", "ä"])))

    assert "daily" in spec_of(kept, "model.shop.a").tags


def test_what_a_node_says_in_vain_is_told_with_its_file() -> None:
    kept = slim(manifest(node("model", "a", meta={"dagster": {"owners": 7}})))

    with pytest.raises(TenantError) as refused:
        spec_of(kept, "model.shop.a")
    assert refused.value.problems[0].where == "tenants/acme: models/a.sql"


def check_of_unit_test(description: str) -> dg.AssetCheckSpec | None:
    kept = slim(manifest(node("model", "a"), unit_test("adds_up", "a", description=description)))
    translator = TenantTranslator("acme", kept)
    asset = translator.get_asset_spec(kept, "model.shop.a", None)
    return translator.get_asset_check_spec(asset, kept, "test.unit_test.shop.a.adds_up", None)


def test_a_unit_test_becomes_a_blocking_check_of_its_model() -> None:
    check = check_of_unit_test("")

    assert check is not None
    assert (check.name, check.asset_key, check.blocking) == ("adds_up", dg.AssetKey(["acme", "a"]), True)


def test_the_description_of_a_test_is_its_checks_description() -> None:
    check = check_of_unit_test("Sums to the total.")

    assert check is not None
    assert check.description == "Sums to the total."
