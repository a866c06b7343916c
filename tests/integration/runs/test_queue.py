"""Beginning runs: which are chosen, what becomes of one whose code location is away, and that none is lost on the way.

That webserver and daemon begin each once is `tests/integration/test_queue_race.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from dagster_apollo.errors import Problem
from dagster_apollo.runs import daemon_internals
from dagster_apollo.runs import queue as queues
from dagster_apollo.runs.capacity import publish
from dagster_apollo.runs.coordinator import ImmediateRunCoordinator
from dagster_apollo.runs.daemon_internals import LaunchRunContext
from dagster_apollo.runs.launcher import CodeHostAwayError
from dagster_apollo.runs.queue import Queue, QueueDaemon
from tests.support.dagster_origins import remote_job_origin
from tests.support.webserver import wait_until


@dg.job
def some() -> None:
    """Nothing to do."""


class Launched(list[str]):
    """The runs that were launched; those of a location that is away are not.

    Attributes:
        away: these locations.
        answers: cleared, nothing is launched until it is set.
    """

    away: Collection[str] = ()

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        self.answers.wait(60)
        if run.remote_job_origin and run.remote_job_origin.location_name in self.away:
            raise CodeHostAwayError([Problem("away", "cannot be reached", "It is tried again.")])
        self.append(run.run_id)


@pytest.fixture
def launched(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Launched:
    found = Launched()
    monkeypatch.setattr(instance.run_launcher, "launch_run", found.launch_run)
    return found


class Clock:
    """Seconds that pass when the test says so."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(queues, "time", made)
    monkeypatch.setattr(daemon_internals, "time", SimpleNamespace(time=lambda: time.time() - 3600))  # no pause
    return made


@pytest.fixture
def queue(instance: dg.DagsterInstance, launched: Launched) -> Queue:
    assert isinstance(instance.run_coordinator, ImmediateRunCoordinator)
    return instance.run_coordinator.queue


def queued(instance: dg.DagsterInstance, location: str = "there") -> str:
    run = instance.create_run_for_job(some, remote_job_origin=remote_job_origin(location, some.name))
    instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run_id=run.run_id)
    return run.run_id


def begin(queue: Queue) -> list[str]:
    """Claim what may begin, and launch it as a webserver does."""
    claimed = queue.claim()
    for run in claimed:
        queue.begin(run, None)  # type: ignore[arg-type]
    return [run.run_id for run in claimed]


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_whose_location_is_away_keeps_no_place_from_others(
    instance: dg.DagsterInstance, queue: Queue, launched: Launched
) -> None:
    publish(instance, 1)
    launched.away = ["away"]
    waiting, other = queued(instance, "away"), queued(instance)

    assert begin(queue) == [waiting]
    assert begin(queue) == [other]
    assert launched == [other]
    assert status(instance, waiting) == dg.DagsterRunStatus.QUEUED


def test_a_location_that_is_away_long_after_it_was_away_before_is_waited_for_anew(
    instance: dg.DagsterInstance, queue: Queue, launched: Launched, clock: Clock
) -> None:
    launched.away = ["there"]
    run_id = queued(instance)
    begin(queue)
    clock.seconds += 2 * queues._GIVE_UP_SECONDS
    begin(queue)
    assert status(instance, run_id) == dg.DagsterRunStatus.QUEUED

    for _ in range(14):  # it is asked again and again
        clock.seconds += queues._FORGET_SECONDS
        begin(queue)
    assert status(instance, run_id) == dg.DagsterRunStatus.FAILURE


def test_runs_that_find_their_location_away_together_count_once(
    instance: dg.DagsterInstance, queue: Queue, launched: Launched, clock: Clock
) -> None:
    launched.away = ["there"]
    for _ in range(3):
        queued(instance)
    for pause in queues._PAUSES_SECONDS[:2]:
        begin(queue)
        _, _, again = queue._away["there"]
        assert again - clock.seconds == pause
        clock.seconds = again


def test_no_more_runs_are_claimed_than_there_are_threads_to_launch_them(
    instance: dg.DagsterInstance, queue: Queue, launched: Launched
) -> None:
    asked = [queued(instance) for _ in range(queues._LAUNCHERS + 2)]
    launched.answers.clear()
    with ThreadPoolExecutor(queues._LAUNCHERS) as launchers:
        queue.launch_by(launchers)
        assert begin(queue) == asked[: queues._LAUNCHERS]
        assert begin(queue) == []
        launched.answers.set()
        wait_until(lambda: len(launched) == queues._LAUNCHERS, "the first ones are launched", 20)
        wait_until(lambda: begin(queue) != [], "there is a thread for the others", 20)
        wait_until(lambda: begin(queue) == [], "all are begun", 20)
    assert sorted(launched) == sorted(asked)


def test_a_daemon_that_ends_launches_all_that_it_claimed(
    instance: dg.DagsterInstance, queue: Queue, launched: Launched
) -> None:
    asked = {queued(instance) for _ in range(3)}
    context: Any = SimpleNamespace(instance=instance, create_request_context=lambda: None)
    with QueueDaemon(queue, 1) as ending:
        iteration = ending.run_iteration(context)
        next(iteration)
        iteration.close()

    assert set(launched) == asked


def test_what_was_claimed_is_launched_though_the_database_goes_away_over_the_next_one(
    instance: dg.DagsterInstance, queue: Queue, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = queued(instance), queued(instance)
    read = instance.get_run_by_id

    def away(run_id: str) -> dg.DagsterRun | None:
        if run_id == second:
            raise ConnectionError("the database is away")
        return read(run_id)

    with monkeypatch.context() as patched:
        patched.setattr(instance, "get_run_by_id", away)
        assert begin(queue) == [first]
        with pytest.raises(ConnectionError):
            queue.claim()
    assert launched == [first]
    assert begin(queue) == [second]


def test_a_run_that_was_cancelled_before_its_turn_to_be_launched_is_not(
    instance: dg.DagsterInstance, queue: Queue, launched: Launched
) -> None:
    queued(instance)
    [run] = queue.claim()
    instance.report_run_canceled(run)

    queue.begin(run, None)  # type: ignore[arg-type]

    assert launched == []
