"""The daemon takes up every run that failed and is to be taken up, once, whatever its events told and when they did.

What a new run has to do, and who executes it, is left out; `tests/e2e/test_interrupted_runs.py` has all of it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import (
    AUTO_RETRY_RUN_ID_TAG,
    BACKFILL_ID_TAG,
    MAX_RETRIES_TAG,
    MAX_RUNTIME_SECONDS_TAG,
    RETRY_NUMBER_TAG,
)
from dagster._daemon.monitoring.run_monitoring import check_run_timeout

from dagster_apollo.interruptions import TAKES_UP, Interruption, marks
from dagster_apollo.runs import recovery
from tests.support.dagster_origins import created_run, remote_job_origin
from tests.support.postgres import Postgres


@dg.job
def some() -> None:
    """Nothing to do."""


@dg.asset
def gone() -> None:
    """One that the next version of the project does not have."""


class NextVersion:
    """A workspace with a location whose job is there, and `gone` is not."""

    asset_graph = dg.Definitions().resolve_asset_graph()

    def get_code_location(self, name: str) -> NextVersion:
        return self

    def has_repository(self, name: str) -> bool:
        return True

    def get_repository(self, name: str) -> NextVersion:
        return self

    def has_job(self, name: str) -> bool:
        return True


@pytest.fixture
def taken_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs for which the daemon has made another one."""
    found: list[str] = []

    def take_up(context: Any, run: dg.DagsterRun) -> None:
        found.append(run.run_id)
        context.instance.add_run_tags(run.run_id, {AUTO_RETRY_RUN_ID_TAG: "another"})

    monkeypatch.setattr(recovery, "take_up", take_up)
    return found


@pytest.fixture
def iterate(instance: dg.DagsterInstance, taken_up: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has the daemon do what it does every few seconds, and look for failed runs each time."""
    monkeypatch.setattr(recovery, "LOOK_SECONDS", 0.0)
    daemon = recovery.RecoveryDaemon(1)
    context: Any = SimpleNamespace(instance=instance)

    def iterate() -> None:
        deque(daemon.run_iteration(context), maxlen=0)

    iterate()  # what came before the first time is no concern of Dagster's
    return iterate


def started(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    return instance.create_run_for_job(some, status=dg.DagsterRunStatus.STARTED, tags={MAX_RETRIES_TAG: "3", **tags})


def failed(instance: dg.DagsterInstance, **tags: str) -> str:
    run = started(instance, **tags)
    instance.report_run_failed(run)
    return run.run_id


def test_one_that_is_told_of(
    instance: dg.DagsterInstance, iterate: Callable[[], None], taken_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "LOOK_SECONDS", 3600.0)
    run_id, _ = failed(instance), failed(instance, **{MAX_RETRIES_TAG: "0"})

    iterate()
    iterate()

    assert taken_up == [run_id]


@pytest.mark.parametrize(
    ("how", "limit", "is_taken_up"), [("told to end", "0", True), ("killed", "1", True), ("killed", "0", False)]
)
def test_one_that_was_interrupted_whatever_dagster_counts(
    instance: dg.DagsterInstance,
    iterate: Callable[[], None],
    taken_up: list[str],
    how: Interruption,
    limit: str,
    is_taken_up: bool,
) -> None:
    first = failed(instance, **{MAX_RETRIES_TAG: "0"})
    # A person's re-execution, which Dagster counts as one more attempt.
    given = {"parent_run_id": first, "root_run_id": first, "status": dg.DagsterRunStatus.STARTED}
    run = instance.create_run_for_job(some, tags={MAX_RETRIES_TAG: limit}, **given)  # type: ignore[arg-type]
    instance.add_run_tags(run.run_id, marks(how, run.run_id, run.tags))
    instance.report_run_failed(run)

    iterate()

    assert taken_up == ([run.run_id] if is_taken_up else [])


def test_but_not_one_that_took_too_long(
    instance: dg.DagsterInstance, iterate: Callable[[], None], taken_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(instance.run_launcher), "terminate", lambda *_, **__: True)
    run_id = started(instance, **{MAX_RUNTIME_SECONDS_TAG: "0.01"}).run_id
    begun = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, some.name)
    instance.report_dagster_event(begun, run_id=run_id)
    time.sleep(0.02)
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    check_run_timeout(instance, record, logging.getLogger(), 0.0)

    iterate()

    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert taken_up == []


def test_one_that_is_told_of_before_it_is_recorded_as_failed(
    instance: dg.DagsterInstance, iterate: Callable[[], None], taken_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, put_off = started(instance), list[Any]()
    with monkeypatch.context() as patched:
        patched.setattr(instance.run_storage, "handle_run_event", lambda *given: put_off.append(given))
        patched.setattr(type(instance), "run_retries_enabled", False)  # who decides on it has not come to that yet
        instance.report_run_failed(run)
        iterate()
    assert taken_up == []

    [(run_id, event, *_)] = put_off
    instance.run_storage.handle_run_event(run_id, event, datetime.now(UTC))
    iterate()
    iterate()

    assert taken_up == [run.run_id]


def test_one_that_is_told_of_while_the_database_goes_away(
    instance: dg.DagsterInstance, iterate: Callable[[], None], taken_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = failed(instance)

    def away(*_: object) -> None:
        raise ConnectionError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(recovery, "_keep", away)
        with pytest.raises(ConnectionError):
            iterate()
    assert taken_up == []
    iterate()
    iterate()

    assert taken_up == [run_id]


def test_those_beside_one_that_cannot_be_read(
    instance: dg.DagsterInstance, iterate: Callable[[], None], taken_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (failed(instance) for _ in range(3))
    attempts = recovery.attempts_of

    def read(of: dg.DagsterInstance, run: dg.DagsterRun) -> Any:
        if run.run_id == second:
            raise ValueError("nobody can read this")
        return attempts(of, run)

    with monkeypatch.context() as patched:
        patched.setattr(recovery, "attempts_of", read)
        iterate()
    assert sorted(taken_up) == sorted([first, third])
    iterate()

    assert sorted(taken_up) == sorted([first, second, third])


def test_one_of_a_backfill_that_is_over_is_asked_about_once(
    instance: dg.DagsterInstance, iterate: Callable[[], None], taken_up: list[str]
) -> None:
    run_id = failed(instance, **{BACKFILL_ID_TAG: "gone"})

    iterate()
    iterate()

    assert taken_up == []
    said = [str(entry.message) for entry in instance.all_logs(run_id)]
    assert len([message for message in said if "Not retrying" in message]) == 1


def test_an_attempt_that_was_only_half_made_is_removed_and_no_other(
    instance: dg.DagsterInstance, database: Postgres
) -> None:
    def attempt(takes_up: str, status: dg.DagsterRunStatus = dg.DagsterRunStatus.NOT_STARTED) -> str:
        tags = {RETRY_NUMBER_TAG: "1", TAKES_UP: takes_up}
        given = {"parent_run_id": run_id, "root_run_id": run_id, "tags": tags, "status": status}
        return instance.create_run_for_job(some, **given).run_id  # type: ignore[arg-type]

    run_id = failed(instance)
    # A person's re-execution has the tags of the run before.
    half, persons, submitted = attempt(run_id), attempt("another"), attempt(run_id, dg.DagsterRunStatus.STARTED)
    database.execute(f"delete from run_tags where run_id = '{half}'")
    run = instance.get_run_by_id(run_id)
    assert run is not None

    recovery.remove_half_made(instance, run)

    assert {found.run_id for found in instance.get_runs()} == {run_id, persons, submitted}


def test_one_of_which_the_project_has_nothing_more_is_left_and_nothing_else_is_built(
    instance: dg.DagsterInstance,
) -> None:
    origin = remote_job_origin("there", "builds")
    builds = dg.Definitions(assets=[gone], jobs=[dg.define_asset_job("builds")])
    run = created_run(instance, builds, "builds", remote_job_origin=origin)
    instance.report_run_failed(run)
    context: Any = SimpleNamespace(instance=instance, create_request_context=NextVersion)

    recovery.take_up(context, run)

    [left] = instance.get_runs()
    assert left.tags["dagster/will_retry"] == "false"
    said = [str(entry.message) for entry in instance.all_logs(run.run_id)]
    assert any("no longer in the project" in message for message in said)
