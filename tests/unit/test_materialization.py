"""What `apollo materialize` understands of a person's words before it asks a webserver for anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.dbt.manifest import slim
from dagster_apollo.errors import HostError, TenantError
from dagster_apollo.host.materialization import Wanted, days_between, planned, selected_keys
from dagster_apollo.host.webserver_client import Asset, Partitions, WebserverClient
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
    assert str(refused.value).startswith("shop cannot be materialized:")


class Shown:
    """What a webserver shows of locations, in place of one."""

    address = "http://127.0.0.1:3000"

    def __init__(self, locations: dict[str, list[Asset]]) -> None:
        self.assets = locations.get


def asset(name: str, *needs: str, partitions: Partitions | None = None) -> Asset:
    return Asset(("shop", name), frozenset(("shop", need) for need in needs), True, False, partitions, ())


def planned_of(locations: dict[str, list[Asset]], days: str | None = None) -> list[tuple[str, list[str], bool]]:
    keys = {each.key for assets in locations.values() for each in assets}
    plans = planned(Shown(locations), "shop", list(locations), keys, Wanted(days=days))  # type: ignore[arg-type]
    return [(plan.location, [key[-1] for key in plan.keys], plan.needs_others) for plan in plans]


def test_what_is_built_from_another_locations_assets_comes_after_them() -> None:
    locations = {"shop__mart": [asset("mart", "stg")], "shop__stg": [asset("raw"), asset("stg", "raw", "elsewhere")]}

    assert planned_of(locations) == [("shop__stg", ["raw", "stg"], False), ("shop__mart", ["mart"], True)]


def test_locations_that_need_each_other_are_launched_as_they_were_given() -> None:
    locations = {"shop__a": [asset("one", "two")], "shop__b": [asset("two", "one")]}

    assert [name for name, _, _ in planned_of(locations)] == ["shop__a", "shop__b"]


def test_days_that_do_not_fit_one_location_are_told_before_anything_is_launched() -> None:
    daily = Partitions("daily", FIRST, LAST, 31, in_one_run=True)
    locations = {"shop__stg": [asset("stg")], "shop__mart": [asset("mart", "stg", partitions=daily)]}

    with pytest.raises(HostError, match="--days"):
        planned_of(locations)


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
