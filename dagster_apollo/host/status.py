"""How well everything is: one reading of the whole stack, and every reason why it is not well, by name.

Red is what a person has to act on: the database away, the daemon silent, a location that does not load, a schedule
that has fallen behind. A reading is kept for a few seconds, so that being asked often costs nothing. How it is shown is
`status_routes.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from dagster_apollo.errors import Problem
from dagster_apollo.host.dagster_internals import WorkspaceProcessContext
from dagster_apollo.host.instance import database_problems
from dagster_apollo.host.remote_workspace import CodeHostState, RemoteWorkspace
from dagster_apollo.host.role import RELEASE_KEY, Release
from dagster_apollo.host.schedule_lag import Lag, schedule_lags
from dagster_apollo.locations import tenant_of
from dagster_apollo.settings import Values
from dagster_apollo.silent_database import ask, with_limits

KEPT_SECONDS = 4.0
# So long somebody waits for another's reading, and a reading for all that it asks. One that waits for a connection that
# is dead is left to itself; so many of those there may be.
PATIENCE_SECONDS = 15.0
READING_SECONDS = 15.0
_ABANDONED_READINGS = 4
_IN_PROGRESS = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
_ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
_RECENT_SECONDS = 86_400
_ERROR_LINES = 40


@dataclass(frozen=True)
class LocationStatus:
    """One code location.

    Attributes:
        loaded: whether its definitions are served and its process answers.
        error: why not.
    """

    loaded: bool
    error: str | None


@dataclass(frozen=True)
class Status:
    """One reading.

    Attributes:
        at: when it was taken, in seconds since 1970.
        webserver: what runs here.
        database: `ok`, `seconds` of a round trip, `error`.
        daemon: `ok`, `heartbeats` (age in seconds by duty), `errors` (how many of late by duty), and its release.
        code: `ok`, `error`, and the code host's release; empty on a laptop, which has none.
        locations: by name.
        schedules: running ones, by `location/name`.
        runs: numbers of runs and of the queue.
        reasons: why it is red; empty: it is green.
    """

    at: float
    webserver: Release
    database: Mapping[str, Any]
    daemon: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, Any] = field(default_factory=dict)
    locations: Mapping[str, LocationStatus] = field(default_factory=dict)
    schedules: Mapping[str, Lag] = field(default_factory=dict)
    runs: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.reasons

    def seen_by(self, readable: frozenset[str] | None) -> Status:
        """The part that somebody who sees only some tenants is shown."""
        if readable is None:
            return self
        hidden = {name for name in self.locations if tenant_of(name) not in readable}
        return Status(
            self.at,
            self.webserver,
            self.database,
            {key: value for key, value in self.daemon.items() if key != "errors"},
            {key: value for key, value in self.code.items() if key != "error"},
            {name: entry for name, entry in self.locations.items() if name not in hidden},
            {name: lag for name, lag in self.schedules.items() if name.partition("/")[0] not in hidden},
            {},
            tuple(reason for reason in self.reasons if _location_of(reason) not in hidden),
        )

    def as_dict(self) -> dict[str, Any]:
        """The stable form that `/status` answers."""
        return {
            "ok": self.ok,
            "reasons": [reason.as_dict() for reason in self.reasons],
            **asdict(self.webserver),
            "database": dict(self.database),
            "daemon": dict(self.daemon),
            "code": dict(self.code),
            "locations": {name: asdict(entry) for name, entry in self.locations.items()},
            "schedules": {name: asdict(lag) for name, lag in self.schedules.items()},
            "runs": dict(self.runs),
            "at": self.at,
        }


class StatusReader:
    """Takes readings, one at a time, and keeps the last one for a few seconds.

    Args:
        context: the webserver's workspace.
        remote: the code host; None on a laptop.
        values: the webserver's settings.
        release: what runs here.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        context: WorkspaceProcessContext,
        remote: RemoteWorkspace | None,
        values: Values,
        release: Release,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._context, self._remote, self._release, self._clock = context, remote, release, clock
        url = values.text("DAGSTER_PG_URI")
        self._url = with_limits(url) if url else None
        self._stale_seconds = float(values.integer("APOLLO_HEARTBEAT_SECONDS") or 0)
        self._lock = threading.Lock()
        self._last: Status | None = None
        self._abandoned: list[Future[Status]] = []

    def read(self) -> Status:
        """The last reading, or a new one where that is old; red when none comes in time.

        May take up to PATIENCE_SECONDS and READING_SECONDS: not for an event loop.
        """
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            return self._without_answer()
        try:
            if self._last is None or self._clock() - self._last.at > KEPT_SECONDS:
                self._last = self._take_in_time()
            return self._last
        finally:
            self._lock.release()

    def _take_in_time(self) -> Status:
        self._abandoned = [reading for reading in self._abandoned if not reading.done()]
        if len(self._abandoned) >= _ABANDONED_READINGS:
            return self._without_answer()
        reading = ask(self._take, "status")
        if wait([reading], READING_SECONDS).not_done:
            self._abandoned.append(reading)
            return self._without_answer()
        return reading.result()

    def _without_answer(self) -> Status:
        told = "does not answer"
        database = {"ok": False, "seconds": None, "error": told}
        reasons = (Problem("database", told, _DATABASE_REMEDY),)
        return Status(self._clock(), self._release, database, reasons=reasons)

    def _take(self) -> Status:
        at = self._clock()
        database, reasons = self._database()
        locations = self._locations()
        code, code_reasons = _code_host(self._remote.state if self._remote else None)
        reasons += code_reasons + _location_reasons(locations, code)
        daemon: dict[str, Any] = {}
        lags: dict[str, Lag] = {}
        runs: dict[str, Any] = {}
        if database["ok"]:
            try:
                instance = self._context.instance
                daemon, daemon_reasons = self._daemon(instance, at)
                lags = schedule_lags(self._context, at)
                runs = _runs(instance, at)
                reasons += daemon_reasons + _schedule_reasons(lags)
            except sqlalchemy.exc.SQLAlchemyError as error:  # it went away between two questions
                database = {"ok": False, "seconds": None, "error": type(error).__name__}
                reasons.append(Problem("database", f"does not answer: {type(error).__name__}", _DATABASE_REMEDY))
        return Status(at, self._release, database, daemon, code, locations, lags, runs, tuple(reasons))

    def _database(self) -> tuple[dict[str, Any], list[Problem]]:
        started = time.monotonic()
        problems = database_problems(self._url)
        seconds = round(time.monotonic() - started, 4)
        if problems:
            told = problems[0].what
            return {"ok": False, "seconds": None, "error": told}, [Problem("database", told, _DATABASE_REMEDY)]
        return {"ok": True, "seconds": seconds, "error": None}, []

    def _locations(self) -> dict[str, LocationStatus]:
        entries = self._context.get_current_workspace().code_location_entries
        found = {}
        for name, entry in entries.items():
            loaded = entry.code_location is not None and entry.load_error is None
            error = None if loaded else _cause(entry.load_error)
            found[name] = LocationStatus(loaded, error)
        state = self._remote.state if self._remote else None
        if state and state.problem:  # what was loaded is shown still, but nothing of it can be run
            found = {name: LocationStatus(False, entry.error or state.problem) for name, entry in found.items()}
        elif state and state.directory:
            for location in state.directory.locations:
                silent = LocationStatus(False, "its process does not answer; the code host starts it again")
                if not location.ready and found.get(location.name, silent).loaded is True:
                    found[location.name] = silent
                found.setdefault(location.name, LocationStatus(False, "not loaded yet"))
        return dict(sorted(found.items()))

    def _daemon(self, instance: DagsterInstance, at: float) -> tuple[dict[str, Any], list[Problem]]:
        beats = instance.get_daemon_heartbeats()
        ages = {duty: round(at - beat.timestamp, 1) for duty, beat in sorted(beats.items())}
        wanted = instance.get_required_daemon_types()
        stale = sorted(duty for duty in wanted if duty not in ages or ages[duty] > self._stale_seconds)
        told = instance.daemon_cursor_storage.get_cursor_values({RELEASE_KEY}).get(RELEASE_KEY)
        daemon = {
            "ok": not stale,
            "heartbeats": {duty: ages.get(duty) for duty in sorted(wanted)},
            "errors": {duty: len(beat.errors or ()) for duty, beat in sorted(beats.items()) if beat.errors},
            **(
                {"version": None, "release": None, "image": None, "started": None}
                | (orjson.loads(told) if told else {})
            ),
        }
        if not stale:
            return daemon, []
        silent = ", ".join(f"{duty} {f'{ages[duty]:.0f} s' if duty in ages else 'never'}" for duty in stale)
        what = f"it has given no sign of life for {self._stale_seconds:.0f} s: {silent}"
        return daemon, [Problem("daemon", what, "See whether `dagster-daemon` runs, and its log; restart it.")]


_DATABASE_REMEDY = "See whether Postgres runs and takes connections, and DAGSTER_PG_URI."


def _location_of(reason: Problem) -> str | None:
    kind, _, name = reason.where.partition(" ")
    return name.partition("/")[0] if kind in ("location", "schedule") else None


def _code_host(state: CodeHostState | None) -> tuple[dict[str, Any], list[Problem]]:
    if state is None:
        return {}, []
    directory = state.directory
    names = ("version", "release", "image")
    code = {"ok": state.problem is None, "error": state.problem}
    code |= {name: getattr(directory, name) if directory else None for name in names}
    if state.problem is None:
        return code, []
    return code, [Problem("code host", state.problem, "See whether `dagster-code` runs, and its log.")]


def _location_reasons(locations: Mapping[str, LocationStatus], code: Mapping[str, Any]) -> list[Problem]:
    remedy = "Mend what it names and deploy; `apollo tenant check` finds it before a deploy does."
    if code and not code["ok"]:
        remedy = "It comes back with the code host."
    return [
        Problem(f"location {name}", f"does not load: {entry.error}", remedy)
        for name, entry in locations.items()
        if not entry.loaded
    ]


def _schedule_reasons(lags: Mapping[str, Lag]) -> list[Problem]:
    remedy = "See the daemon's log and the schedule's ticks on its page."
    return [
        Problem(
            f"schedule {name}", f"has fallen behind by {lag.seconds:.0f} s: {_time(lag.missed)} was not seen", remedy
        )
        for name, lag in lags.items()
        if lag.is_behind
    ]


def _time(timestamp: float | None) -> str:
    return datetime.fromtimestamp(timestamp or 0).astimezone().isoformat(timespec="minutes")


def _runs(instance: DagsterInstance, at: float) -> dict[str, Any]:
    """Runs in progress, those that ended within a day, and how long the queue has kept its first."""
    counts = {s.value: instance.get_runs_count(RunsFilter(statuses=[s])) for s in _IN_PROGRESS}
    since = datetime.fromtimestamp(at - _RECENT_SECONDS).astimezone()
    ended = {s.value: instance.get_runs_count(RunsFilter(statuses=[s], updated_after=since)) for s in _ENDED}
    waiting = RunsFilter(statuses=[DagsterRunStatus.QUEUED])
    oldest = instance.get_run_records(waiting, limit=1, ascending=True)
    age = round(at - oldest[0].create_timestamp.timestamp(), 1) if oldest else 0.0
    return {"in_progress": counts, "ended_in_a_day": ended, "queued": counts["QUEUED"], "oldest_queued_seconds": age}


def _cause(error: Any) -> str:
    """What a location's load error comes down to: our own list of what is wrong, or what the tenant's Python raised."""
    if error is None:
        return "not loaded yet"
    while error.cause:
        error = error.cause
    return "\n".join(error.message.strip().splitlines()[:_ERROR_LINES])
