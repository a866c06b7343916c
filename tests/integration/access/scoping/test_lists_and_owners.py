"""Lists page to their end, tags that lie hide and show nothing, and what a key is named decides whose it is."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG
from dagster._core.workspace.workspace import CurrentWorkspace
from starlette.requests import HTTPConnection

from dagster_apollo.access.scoping.ownership import ownership_of
from dagster_apollo.access.scoping.scope import Refused, RunLocations, Scope
from dagster_apollo.access.scoping.scoped_instance import ScopedInstance
from tests.support.scoped_world import ALPACA, USERS, ZEBRA, World, new_instance

RUNS_OF_EACH = 12
PAGE = 5


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def empty_instance(request: pytest.FixtureRequest) -> Iterator[DagsterInstance]:
    """An instance beside the world's, on each kind of storage."""
    url = request.getfixturevalue("postgres").url() if request.param == "postgres" else None
    home = Path(tempfile.mkdtemp(prefix="apollo-lists-"))
    with new_instance(home, url) as instance:
        yield instance
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def scoped(world: World, empty_instance: DagsterInstance) -> Iterator[tuple[DagsterInstance, ScopedInstance]]:
    """The empty instance, and the same as a user who is confined to alpaca is given it."""
    owned = ownership_of(world.process.get_current_workspace())
    scope = Scope(USERS["confined-operator"], empty_instance, owned, RunLocations(empty_instance))
    yield empty_instance, ScopedInstance(empty_instance, scope)
    empty_instance.run_storage.wipe()


def run_of(world: World, tenant: str, **changes: Any) -> DagsterRun:
    """Another run like the one that a tenant had."""
    run = world.instance.get_run_by_id(world.past[tenant].runs["nightly"])
    assert run is not None
    snapshots = {"job_snapshot_id": None, "execution_plan_snapshot_id": None}
    return run._replace(run_id=str(uuid.uuid4()), status=DagsterRunStatus.SUCCESS, **{**snapshots, **changes})


def pages(read: Any, key: Any) -> list[str]:
    """All that a client sees who stops at the first page that is not full."""
    found: list[str] = []
    while True:
        page = [key(entry) for entry in read(limit=PAGE, cursor=found[-1] if found else None)]
        found += page
        if len(page) < PAGE:
            return found


def test_runs_that_others_tagged_as_ones_own_are_hidden_and_end_no_page(world: World, scoped: Any) -> None:
    real, shown = scoped
    own, label = [], {REPOSITORY_LABEL_TAG: "__repository__@alpaca"}
    for _ in range(RUNS_OF_EACH):
        own.append(real.run_storage.add_run(run_of(world, ALPACA)).run_id)
        real.run_storage.add_run(run_of(world, ZEBRA, tags=label))
        real.run_storage.add_run(run_of(world, ZEBRA))
        real.run_storage.add_run(run_of(world, ZEBRA, remote_job_origin=None, tags=label))

    assert sorted(pages(shown.get_runs, lambda run: run.run_id)) == sorted(own)
    assert sorted(pages(shown.get_run_records, lambda record: record.dagster_run.run_id)) == sorted(own)
    assert sorted(pages(shown.get_run_ids, str)) == sorted(own)
    assert sorted(pages(real.get_run_ids, str)) != sorted(own)
    assert not any(shown.has_run(run_id) for run_id in set(real.get_run_ids()) - set(own))


def test_asking_for_another_tenants_label_finds_nothing(world: World, scoped: Any) -> None:
    real, shown = scoped
    real.run_storage.add_run(run_of(world, ZEBRA))

    for label in ("__repository__@zebra", ["__repository__@zebra"], []):
        found = shown.get_runs(RunsFilter(tags={REPOSITORY_LABEL_TAG: label}))
        assert found == []
        assert shown.get_runs_count(RunsFilter(tags={REPOSITORY_LABEL_TAG: label})) == 0


def test_a_run_that_is_looked_for_before_it_is_there_is_found_afterwards(world: World, scoped: Any) -> None:
    real, shown = scoped
    run = run_of(world, ALPACA)
    assert not shown.has_run(run.run_id)

    real.run_storage.add_run(run)

    assert shown.has_run(run.run_id)


def test_runs_of_a_repository_that_is_gone_are_still_their_tenants(world: World, scoped: Any) -> None:
    real, shown = scoped
    run = run_of(world, ALPACA, tags={REPOSITORY_LABEL_TAG: "a_former_repository@alpaca"})
    real.run_storage.add_run(run)

    assert [found.run_id for found in shown.get_runs()] == [run.run_id]


def test_tags_are_those_of_visible_runs(world: World, scoped: Any) -> None:
    real, shown = scoped
    for tenant in (ALPACA, ZEBRA):
        tags = {REPOSITORY_LABEL_TAG: f"__repository__@{tenant}", f"{tenant}_tag": f"{tenant}_value", "both": tenant}
        real.run_storage.add_run(run_of(world, tenant, tags=tags))

    assert set(shown.get_run_tag_keys()) == {REPOSITORY_LABEL_TAG, "alpaca_tag", "both"}
    assert dict(shown.get_run_tags(["both", "zebra_tag"])) == {"both": {"alpaca"}}
    assert dict(shown.get_run_tags(["both"], value_prefix="z")) == {}
    assert dict(real.get_run_tags(["both"])) == {"both": {"alpaca", "zebra"}}


def test_backfills_page_to_their_end_without_those_of_others(world: World, scoped: Any) -> None:
    real, shown = scoped
    own = []
    for number in range(RUNS_OF_EACH):
        for keys in ([[ALPACA, "joined"]], [[ZEBRA, "joined"]], [[ALPACA, "joined"], [ZEBRA, "joined"]], []):
            backfill = PartitionBackfill(
                backfill_id=f"{number}{len(keys)}{''.join(path[0] for path in keys)}",
                status=BulkActionStatus.REQUESTED,
                from_failure=False,
                tags={},
                backfill_timestamp=float(number),
                asset_selection=[AssetKey(path) for path in keys],
                serialized_asset_backfill_data="{}",
            )
            real.add_backfill(backfill)
            if keys == [[ALPACA, "joined"]]:
                own.append(backfill.backfill_id)

    assert sorted(pages(shown.get_backfills, lambda backfill: backfill.backfill_id)) == sorted(own)
    assert shown.get_backfills_count() == len(own)
    assert [shown.get_backfill(backfill_id) is not None for backfill_id in own] == [True] * len(own)


def test_a_key_is_its_tenants_also_while_nothing_that_defines_it_is_loaded(world: World) -> None:
    whole = world.process.get_current_workspace()
    only_alpaca = CurrentWorkspace({ALPACA: whole.code_location_entries[ALPACA]})

    for workspace in (whole, only_alpaca):
        scope = Scope(USERS["confined-operator"], world.instance, ownership_of(workspace), RunLocations(world.instance))
        keys = {path: AssetKey(path.split("/")) for path in ("zebra/claimed", "zebra/depended_on", "zebra/orders")}
        assert {path: (scope.sees_key(key), scope.operates_key(key)) for path, key in keys.items()} == dict.fromkeys(
            keys, (False, False)
        )
        for path in ("alpaca/orders", "alpaca/no_longer_defined"):
            key = AssetKey(path.split("/"))
            assert (scope.sees_key(key), scope.operates_key(key)) == (True, True)


def test_what_nobody_reviewed_is_refused(scoped: Any) -> None:
    _, shown = scoped

    for refused in (
        shown.wipe,
        shown.info_str,
        shown.run_storage.wipe,
        shown.event_log_storage.get_logs_for_all_runs_by_log_id,
        lambda: shown.event_log_storage.set_concurrency_slots("alpaca_pool", 1),
        lambda: shown.daemon_cursor_storage.set_cursor_values({"ASSET_DAEMON_PAUSED": "x"}),
    ):
        with pytest.raises(Refused):
            refused()


def test_users_of_equal_rights_share_a_view_and_a_reload_makes_a_new_one(world: World) -> None:
    process, workspace = world.process, world.process.get_current_workspace()
    views = process._views_of(workspace)
    one = views.of(USERS["confined-operator"])

    assert views.of(replace(USERS["confined-operator"], name="somebody else")) is one
    assert views.of(USERS["confined-viewer"]) is not one
    assert process._views_of(CurrentWorkspace(dict(workspace.code_location_entries))) is not views


def test_an_administrator_is_given_the_real_instance_and_the_whole_workspace(world: World) -> None:
    context = world.process.create_request_context(
        HTTPConnection({"type": "http", "headers": [], "user": USERS["administrator"]})
    )

    assert context.instance is world.instance
    assert context.get_current_workspace() is world.process.get_current_workspace()
    assert set(context.get_code_location_entries()) == {ALPACA, ZEBRA}
