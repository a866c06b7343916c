"""What is asked of a side that is served, over GraphQL as the pages ask it: launch, wait, what happened when.

A connection is kept, as browsers keep one, so that asking how far a run is costs little of what is measured. How a side
is started and stopped is its own.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import psutil

from benchmarks.side_by_side.database import Database
from benchmarks.side_by_side.measures import SideName
from benchmarks.side_by_side.projects import Project
from tests.support.webserver import FINAL

RUN_TIMEOUT_SECONDS = 1800.0
BOOT_TIMEOUT_SECONDS = 900.0
# How often a run is asked for: often while it is short, rarely enough to cost a long one nothing.
_OFTEN_SECONDS, _RARELY_SECONDS, _LONG_SECONDS = 0.025, 0.1, 1.5
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
_RUN = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status creationTime } } }"
_EVENTS = """
query Events($id: ID!, $after: String) {
  logsForRun(runId: $id, afterCursor: $after) { ... on EventConnection {
    cursor hasMore
    events { __typename ... on MessageEvent { timestamp message } ... on MaterializationEvent { assetKey { path } } }
  } }
}"""
_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { __typename } } } } }"""
_ALL_ASSETS = """{ assetNodes { assetKey { path } groupName dependencyKeys { path } isExecutable jobNames
  repository { name location { name } } } }"""
# What happened, in the order in which it does, and the event that shows it; of several the first, or the last.
STAGES = {
    "run created": None,
    "enqueued": "RunEnqueuedEvent",
    "launched": "RunStartingEvent",
    "run started": "RunStartEvent",
    "step started": "ExecutionStepStartEvent",
    "first asset": "MaterializationEvent",
    "last asset": "MaterializationEvent",
    "step ended": "ExecutionStepSuccessEvent",
    "run ended": "RunSuccessEvent",
}


class BenchmarkError(Exception):
    """Something that is to be measured did not happen."""


@dataclass(frozen=True)
class Launched:
    """A run that has succeeded.

    Attributes:
        run_id: it.
        seconds: from the request until GraphQL says SUCCESS.
        posted_at: when it was asked for, seconds since the epoch.
        answered_seconds: from then until the launch was answered.
    """

    run_id: str
    seconds: float
    posted_at: float
    answered_seconds: float


class Webserver:
    """A webserver at an address such as `http://127.0.0.1:3000`, asked over one connection, with a token if need be."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=address, headers=headers, timeout=300, trust_env=False)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer.

        Raises:
            BenchmarkError: it is an error.
            httpx.TransportError: nothing answers.
        """
        answer = self._client.post("/graphql", json={"query": query, "variables": variables})
        if answer.status_code != 200 or answer.json().get("errors"):
            raise BenchmarkError(f"{self.address} answered {answer.status_code}: {answer.text[:2000]}")
        data: dict[str, Any] = answer.json()["data"]
        return data

    def loaded(self) -> set[str]:
        """The code locations that it has loaded without an error; none while nothing answers."""
        try:
            entries = self.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
        except httpx.TransportError:
            return set()
        return {
            entry["name"]
            for entry in entries
            if entry["loadStatus"] == "LOADED"
            and (entry["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation"
        }

    def wait_until_loaded(self, names: set[str], processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
        """Wait until it has all these locations; `processes` are those without which that never happens.

        Raises:
            BenchmarkError: a process that it needs has ended, or the time is over.
        """
        end = time.monotonic() + BOOT_TIMEOUT_SECONDS
        while not names <= (loaded := self.loaded()):
            ended = [role for role, process in processes.items() if process.poll() is not None]
            if ended or time.monotonic() > end:
                missing = sorted(names - loaded)
                raise BenchmarkError(f"not loaded: {', '.join(missing[:5])} ({len(missing)}); ended: {ended}")
            time.sleep(0.1)

    def number_of_assets(self) -> int:
        """Everything that the page of the whole graph asks for, counted."""
        return len(self.ask(_ALL_ASSETS)["assetNodes"])

    def names_of_assets(self) -> set[str]:
        """The last part of every asset's key, of the locations that are loaded."""
        return {node["assetKey"]["path"][-1] for node in self.ask(_ALL_ASSETS)["assetNodes"]}

    def launch(self, location: str, job: str, assets: Sequence[Sequence[str]] = ()) -> Launched:
        """Launch a job, narrowed to some assets, and wait for its success.

        Raises:
            BenchmarkError: it did not succeed.
        """
        selector: dict[str, Any] = {
            "jobName": job, "repositoryName": "__repository__", "repositoryLocationName": location,
        }  # fmt: skip
        if assets:
            selector["assetSelection"] = [{"path": list(key)} for key in assets]
        params = {"selector": selector, "mode": "default", "runConfigData": "{}"}
        posted_at, began = time.time(), time.monotonic()
        answer = self.ask(_LAUNCH, params=params)["launchRun"]
        answered = time.monotonic() - began
        if answer["__typename"] != "LaunchRunSuccess":
            raise BenchmarkError(f"{location}/{job} was not launched: {answer}")
        run_id = str(answer["run"]["runId"])
        while (status := self.ask(_RUN, id=run_id)["runOrError"]["status"]) not in FINAL:
            took = time.monotonic() - began
            if took > RUN_TIMEOUT_SECONDS:
                raise BenchmarkError(f"{location}/{job} is {status} after {took:g} s")
            time.sleep(_OFTEN_SECONDS if took < _LONG_SECONDS else _RARELY_SECONDS)
        seconds = time.monotonic() - began
        if status != "SUCCESS":
            told = [event["message"] for event in self._events(run_id) if event.get("message")]
            raise BenchmarkError(f"{location}/{job} ended as {status}:\n" + "\n".join(told[-20:]))
        return Launched(run_id, seconds, posted_at, answered)

    def built(self, run: Launched) -> int:
        """How many assets a run has materialized."""
        events = self._events(run.run_id)
        return len({str(event["assetKey"]) for event in events if event["__typename"] == "MaterializationEvent"})

    def waterfall(self, run: Launched) -> dict[str, float]:
        """When each stage of a run was reached, in seconds after it was asked for."""
        created = float(self.ask(_RUN, id=run.run_id)["runOrError"]["creationTime"])
        events = self._events(run.run_id)
        found = {"answered": run.answered_seconds, "run created": created - run.posted_at}
        for stage, kind in STAGES.items():
            times = [int(event["timestamp"]) / 1000 for event in events if event["__typename"] == kind]
            if times:
                found[stage] = (max(times) if stage == "last asset" else min(times)) - run.posted_at
        return {**found, "success seen": run.seconds}

    def _events(self, run_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = self.ask(_EVENTS, id=run_id, after=cursor)["logsForRun"]
            found += page["events"]
            cursor = page["cursor"]
            if not page["hasMore"]:
                return found


class Side(Protocol):
    """A side that is served: the documented way, or ours."""

    name: SideName
    webserver: Webserver
    database: Database

    def prepare(self, projects: Sequence[Project], *, freshness: bool = False) -> None:
        """Write the projects and make what an image holds: manifests. Not measured.

        Args:
            projects: what is served from now on; more than before, or the same.
            freshness: whether the first one has an asset more, whose policy grants it a minute.
        """

    def boot(self) -> float:
        """Start everything; the seconds until the webserver has loaded all locations without an error."""

    def stop(self) -> None:
        """End everything that was started."""

    def processes(self, *roles: str) -> list[psutil.Process]:
        """The processes of some roles (`webserver`, `daemon`, `code`, `database`); of all of them without one."""

    def build_job(self, project: Project) -> str:
        """The job that builds a whole project."""

    def key(self, project: Project, asset: str) -> list[str]:
        """An asset's key."""
