"""A reading of the whole stack: what each user is shown of it, and how Prometheus is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dagster_apollo.errors import Problem
from dagster_apollo.host import status
from dagster_apollo.host.role import Release
from dagster_apollo.host.schedule_lag import Lag
from dagster_apollo.host.status import KEPT_SECONDS, LocationStatus, Status, StatusReader
from dagster_apollo.host.status_routes import prometheus
from dagster_apollo.settings import read
from tests.support.webserver import wait_until

READING = Status(
    at=1_000_000.0,
    webserver=Release("1.0", "abc", None),
    database={"ok": True, "seconds": 0.002, "error": None},
    daemon={"ok": True, "heartbeats": {"SCHEDULER": 3.0, "SENSOR": None}, "errors": {"SENSOR": 2}},
    code={"ok": True, "error": None, "version": "1.0", "release": "abc", "image": None},
    locations={"alpha": LocationStatus(True, None), "beta": LocationStatus(False, "beta's secret is missing")},
    schedules={"alpha/daily": Lag(None, 0.0, 9.0), "beta/daily": Lag(10.0, 900.0, 9.0)},
    runs={"in_progress": {"QUEUED": 4}, "ended_in_a_day": {"FAILURE": 1}, "queued": 4, "oldest_queued_seconds": 12.5},
    reasons=(
        Problem("location beta", "does not load: beta's secret is missing", "Set it."),
        Problem("schedule beta/daily", "is late", "See its ticks."),
    ),
)


def metrics(status: Status) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(prometheus(status).decode())
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_what_is_red_is_named_and_makes_the_whole_red() -> None:
    assert not READING.ok
    assert READING.as_dict()["reasons"][0] == {
        "where": "location beta",
        "what": "does not load: beta's secret is missing",
        "remedy": "Set it.",
        "severity": "error",
    }


def test_the_agreed_fields_are_there() -> None:
    told = READING.as_dict()

    assert {"ok", "version", "image", "database", "daemon", "locations", "schedules"} <= set(told)
    assert told["locations"]["alpha"] == {"loaded": True, "error": None}
    assert told["schedules"]["beta/daily"] == {"missed": 10.0, "seconds": 900.0, "last_tick": 9.0}


def test_who_sees_all_tenants_is_shown_all() -> None:
    assert READING.seen_by(None) is READING


def test_who_sees_one_tenant_is_shown_nothing_of_another() -> None:
    shown = READING.seen_by(frozenset({"alpha"}))

    assert "beta" not in str(shown.as_dict())
    assert "beta" not in prometheus(shown).decode()
    assert shown.runs == {}  # how much the others do is theirs
    assert shown.ok


def test_who_sees_a_tenant_that_is_red_is_told_so() -> None:
    shown = READING.seen_by(frozenset({"beta"}))

    assert [reason.where for reason in shown.reasons] == ["location beta", "schedule beta/daily"]
    assert not shown.ok


def test_what_concerns_everybody_is_told_to_everybody() -> None:
    away = Problem("database", "does not answer", "See whether Postgres runs.")
    reading = Status(1.0, READING.webserver, {"ok": False, "seconds": None, "error": "x"}, reasons=(away,))

    assert reading.seen_by(frozenset({"alpha"})).reasons == (away,)
    assert metrics(reading)["apollo_database_up",] == 0


def test_prometheus_is_told_every_number() -> None:
    told = metrics(READING)

    assert told["apollo_ok",] == 0
    assert told["apollo_database_round_trip_seconds",] == 0.002
    assert told["apollo_daemon_heartbeat_age_seconds", "SCHEDULER"] == 3
    assert ("apollo_daemon_heartbeat_age_seconds", "SENSOR") not in told  # it never gave one
    assert told["apollo_location_loaded", "beta"] == 0
    assert told["apollo_schedule_lag_seconds", "beta/daily"] == 900
    assert told["apollo_runs", "QUEUED"] == 4
    assert told["apollo_runs_ended_in_a_day", "FAILURE"] == 1
    assert told["apollo_queue_oldest_seconds",] == 12.5


class TestAReadingThatDoesNotEnd:
    """A database that vanished answers nothing, and the status is asked for just then."""

    @pytest.fixture
    def reader(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
        monkeypatch.setattr(status, "PATIENCE_SECONDS", 0.05)
        monkeypatch.setattr(status, "READING_SECONDS", 0.2)
        reader = Reader()
        yield reader
        reader.back.set()

    def test_is_red_and_names_the_database(self, reader: Reader) -> None:
        reading = reader.read()

        assert not reading.ok
        assert [(reason.where, reason.what) for reason in reading.reasons] == [("database", "does not answer")]
        assert metrics(reading)["apollo_database_up",] == 0

    def test_is_not_waited_for_by_others_either(self, reader: Reader) -> None:
        with ThreadPoolExecutor(8) as many:
            assert [reading.ok for reading in many.map(lambda _: reader.read(), range(8))] == [False] * 8

    def test_is_forgotten_once_the_database_is_back(self, reader: Reader) -> None:
        for _ in range(10):
            assert not reader.read().ok
            reader.now += KEPT_SECONDS + 1
        assert reader.begun < 10  # those that wait for a dead connection do not pile up
        reader.back.set()
        wait_until(lambda: reader.read().ok, "it is green again", 20)


class Reader(StatusReader):
    """A reader whose readings wait for the database."""

    def __init__(self) -> None:
        self.now, self.begun, self.back = 1.0, 0, threading.Event()
        nothing: Any = None
        super().__init__(nothing, None, read({}), READING.webserver, self._tick)

    def _tick(self) -> float:
        self.now += KEPT_SECONDS + 1
        return self.now

    def _take(self) -> Status:
        self.begun += 1
        self.back.wait()
        return Status(self.now, READING.webserver, {"ok": True, "seconds": 0.0, "error": None})
