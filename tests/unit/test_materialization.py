"""What `apollo materialize` understands of a person's words before it asks a webserver for anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.dbt.manifest import slim
from dagster_apollo.errors import HostError, TenantError
from dagster_apollo.host.materialization import Wanted, days_between, selected_keys
from dagster_apollo.host.webserver_client import WebserverClient
from dagster_apollo.tenant import load_tenant
from tests.support.manifests import manifest, node
from tests.support.shop_tenant import places_below, write_tenant

FIRST, LAST = "2026-05-01", "2026-05-31"
KEPT = slim(
    manifest(
        node("seed", "raw"),
        node("model", "stg", ["seed.shop.raw"], tags=["stg"]),
        node("model", "mart", ["model.shop.stg"]),
        node("model", "old", ["seed.shop.raw"], tags=["deprecated"]),
        node("test", "not_null_stg", ["model.shop.stg"], attached_node="model.shop.stg"),
    )
)


def selected(root: Path, select: str = "fqn:*", exclude: str = "") -> set[str]:
    places = places_below(root)
    write_tenant(places, "exclude: tag:deprecated\n")
    keys = selected_keys(load_tenant(places.tenants_dir, "shop"), KEPT, Wanted(select, exclude))
    assert {key[0] for key in keys} == {"shop"}
    return {key[-1] for key in keys}


@pytest.mark.parametrize(
    ("select", "exclude", "names"),
    [
        ("fqn:*", "", {"raw", "stg", "mart"}),
        ("tag:stg", "", {"stg"}),
        ("stg+", "", {"stg", "mart"}),
        ("+mart", "raw", {"stg", "mart"}),
    ],
)
def test_dbts_selection_names_assets_and_never_what_the_tenant_leaves_out(
    tmp_path: Path, select: str, exclude: str, names: set[str]
) -> None:
    assert selected(tmp_path, select, exclude) == names


@pytest.mark.parametrize("select", ["tag:none", "tag:deprecated", "method_that:is_none", "not_null_stg"])
def test_a_selection_that_names_no_asset_is_told(tmp_path: Path, select: str) -> None:
    with pytest.raises(TenantError) as refused:
        selected(tmp_path, select)

    assert [problem.where for problem in refused.value.problems] == ["--select"]


def test_days_are_one_or_several_or_all() -> None:
    assert days_between("2026-05-09", FIRST, LAST) == ("2026-05-09", "2026-05-09")
    assert days_between("2026-05-09:2026-05-11", FIRST, LAST) == ("2026-05-09", "2026-05-11")
    assert days_between("all", FIRST, LAST) == (FIRST, LAST)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (None, "partitioned by day"),
        ("yesterday", "neither a day nor two in order"),
        ("2026-05-11:2026-05-09", "neither a day nor two in order"),
        ("2026-04-30", "is not among 2026-05-01 to 2026-05-31"),
        ("2026-05-30:2026-06-01", "is not among 2026-05-01 to 2026-05-31"),
    ],
)
def test_days_that_cannot_be_are_told_with_those_that_can(asked: str | None, told: str) -> None:
    with pytest.raises(HostError) as refused:
        days_between(asked, FIRST, LAST)

    [problem] = refused.value.problems
    assert told in problem.what
    assert "--days 2026-05-01:2026-05-31" in problem.remedy


def test_a_webserver_that_is_not_there_is_told_with_what_to_start() -> None:
    with pytest.raises(HostError) as refused:
        WebserverClient("http://127.0.0.1:9").assets("shop")

    [problem] = refused.value.problems
    assert problem.where == "http://127.0.0.1:9"
    assert "make dev" in problem.remedy


def test_a_token_does_not_show() -> None:
    assert "hunter2" not in repr(WebserverClient("http://127.0.0.1:9", "hunter2"))
