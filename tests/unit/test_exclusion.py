"""What `exclude` leaves out of a tenant's definitions, and what `groups` calls the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dagster_apollo.dbt.exclusion import without_excluded
from dagster_apollo.dbt.manifest import slim
from dagster_apollo.dbt.translation import TenantTranslator
from dagster_apollo.errors import TenantError
from dagster_apollo.tenant import Tenant, load_tenant
from tests.support.manifests import manifest, node, source, unit_test
from tests.support.shop_tenant import places_below, write_tenant


def tenant_with(root: Path, config: str) -> Tenant:
    places = places_below(root)
    write_tenant(places, config)
    return load_tenant(places.tenants_dir, "shop")


def test_of(*models: str) -> dict[str, Any]:
    name = f"test_{'_'.join(models)}"
    return node("test", name, [f"model.shop.{model}" for model in models], attached_node=f"model.shop.{models[0]}")


test_of.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for one

KEPT = slim(
    manifest(
        source("orders"),
        node("model", "stg", ["source.shop.raw.orders"], tags=["stg"]),
        node("model", "old", ["model.shop.stg"], tags=["deprecated"]),
        node("model", "older", ["model.shop.old"], tags=["ancient"]),
        node("model", "mart", ["model.shop.stg"], tags=["nightly", "mart"]),
        test_of("stg"),
        test_of("old"),
        test_of("mart", "old"),
        unit_test("counts", "old"),
    )
)


def test_models_go_with_the_tests_that_look_at_them(tmp_path: Path) -> None:
    cut = without_excluded(tenant_with(tmp_path, "exclude: tag:deprecated tag:ancient\n"), KEPT)

    assert set(cut["nodes"]) == {"model.shop.stg", "model.shop.mart", "test.shop.test_stg"}
    assert set(cut["sources"]) == {"source.shop.raw.orders"}
    left = {*cut["nodes"], *cut["sources"]}
    for relatives in ("parent_map", "child_map"):
        assert set(cut[relatives]) <= left
        assert {key for keys in cut[relatives].values() for key in keys} <= left
    assert "model.shop.old" in KEPT["nodes"], "what was given stays as it is"


def test_the_operators_of_dbts_selection_are_known(tmp_path: Path) -> None:
    cut = without_excluded(tenant_with(tmp_path, "exclude: old+\n"), KEPT)

    assert "model.shop.older" not in cut["nodes"]


def test_without_the_field_nothing_goes(tmp_path: Path) -> None:
    assert without_excluded(tenant_with(tmp_path, ""), KEPT) is KEPT


def test_what_is_left_out_may_have_nothing_built_from_it(tmp_path: Path) -> None:
    with pytest.raises(TenantError) as refused:
        without_excluded(tenant_with(tmp_path, "exclude: tag:deprecated\n"), KEPT)

    [problem] = refused.value.problems
    assert problem.where == "tenants/shop/tenant.yaml: exclude"
    assert problem.what == "leaves out old, which older is built from"
    assert problem.remedy == "Leave out older too (`old+`), or keep both."


def test_a_selection_that_dbt_cannot_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(TenantError) as refused:
        without_excluded(tenant_with(tmp_path, "exclude: 'method_that:is_none'\n"), KEPT)

    assert refused.value.problems[0].where == "tenants/shop/tenant.yaml: exclude"


def test_a_model_is_in_the_group_of_the_first_tag_that_names_one() -> None:
    groups = {"mart": "dbt_marts", "nightly": "night", "stg": "dbt_staging"}
    translator = TenantTranslator("shop", KEPT, groups=groups)

    def group(name: str) -> str | None:
        return translator.get_asset_spec(KEPT, f"model.shop.{name}", None).group_name

    assert (group("mart"), group("stg")) == ("dbt_marts", "dbt_staging")
    assert group("old") == TenantTranslator("shop", KEPT).get_asset_spec(KEPT, "model.shop.old", None).group_name


def test_a_group_that_dagster_would_refuse_is_told(tmp_path: Path) -> None:
    with pytest.raises(TenantError) as refused:
        tenant_with(tmp_path, "groups: {stg: dbt-staging}\n")

    [problem] = refused.value.problems
    assert (problem.where, problem.what) == (
        "tenants/shop/tenant.yaml: groups",
        "'dbt-staging' is not a group's name: letters, digits and `_`",
    )
