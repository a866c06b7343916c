"""Runs and those that take them up, of tenants with slow models, while whatever serves them is killed.

One chain of a tenant after the other: each begins in an empty schema, and when nothing follows any more it is held to
what DESIGN's "exactly once" means: a model whose success is stored is never built again, any other once more for each
interruption, and the rows are those of a run that nobody disturbed.
"""

from __future__ import annotations

import http.client
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.support.slow_tenants import MODELS, SlowTenant
from tests.support.webserver import FINAL, Webserver

_Answer = TypeVar("_Answer")
# What is asked of a stack that is being killed may fail for as long as it takes to come back.
AWAY = (AssertionError, OSError, http.client.HTTPException)
_PATIENCE_SECONDS = 120.0
_EVENTS = """
query Events($id: ID!) {
  logsForRun(runId: $id) { ... on EventConnection { events {
    __typename
    ... on MessageEvent { message }
    ... on AssetMaterializationPlannedEvent { assetKey { path } }
    ... on MaterializationEvent { assetKey { path } }
    ... on AssetCheckEvaluationEvent { evaluation { checkName success } }
  } } }
}"""


def patiently(question: Callable[[], _Answer]) -> _Answer:
    """The answer of a stack that may be away now."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return question()
        except AWAY:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


@dataclass
class Chain:
    """A run and what takes it up.

    Attributes:
        number: of the tenant's chains, from 0.
        run_id: of the first run.
        built_before: how often dbt had built each model before.
    """

    number: int
    run_id: str
    built_before: Counter[str]


@dataclass
class Chains:
    """One tenant's, one after the other.

    Attributes:
        current: the one that is not over.
        done: those that are, with their runs.
    """

    tenant: SlowTenant
    webserver: Webserver
    current: Chain | None = None
    done: list[tuple[Chain, list[dict[str, Any]]]] = field(default_factory=list)
    _undisturbed: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def last_run(self) -> str | None:
        """The run that is at work now, or the last one."""
        if self.current is None:
            return None
        return str(self._attempts(self.current, patiently(self.webserver.runs))[-1]["runId"])

    def go_on(self, *, begin: bool) -> None:
        """Look at the present chain where the stack answers, and begin the next one when it is over.

        Args:
            begin: whether there is to be a next one.
        """
        try:
            runs = self.webserver.runs()
        except AWAY:
            return
        if self.current is None:
            if begin:
                self._begin(runs)
            return
        attempts = self._attempts(self.current, runs)
        if _is_over(attempts[-1]):
            chain, self.current = self.current, None
            self.done.append((chain, attempts))
            self._judge(chain, attempts)

    def _begin(self, runs: list[dict[str, Any]]) -> None:
        known = {run["runId"] for run in runs}
        self.tenant.clear()
        before = self.tenant.built()
        try:
            run_id = self.webserver.launch(self.tenant.name, f"{self.tenant.name}__build")
        except AWAY:
            # Whether it was launched is what the stack knows.
            new = [run["runId"] for run in patiently(self.webserver.runs) if run["runId"] not in known]
            found = [run_id for run_id in new if self._is_ours(run_id)]
            if not found:
                return
            [run_id] = found
        self.current = Chain(len(self.done), run_id, before)

    def _is_ours(self, run_id: str) -> bool:
        run = patiently(lambda: self.webserver.run(run_id))
        return run["jobName"] == f"{self.tenant.name}__build" and run["parentRunId"] is None

    def _attempts(self, chain: Chain, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        by_parent = {run["parentRunId"]: run for run in runs}
        found = [next(run for run in runs if run["runId"] == chain.run_id)]
        while found[-1]["runId"] in by_parent:
            found.append(by_parent[found[-1]["runId"]])
        return found

    def _judge(self, chain: Chain, attempts: list[dict[str, Any]]) -> None:
        """Hold a chain that is over to what it must be."""
        told = f"{self.tenant.name}, chain {chain.number}, of run {chain.run_id}"
        last = attempts[-1]
        assert last["status"] == "SUCCESS", f"{told}: {last} {patiently(lambda: self.webserver.failure(last['runId']))}"
        stored: set[str] = set()
        passed: set[str] = set()
        begun_in_vain: Counter[str] = Counter()
        for attempt in attempts:
            events = patiently(lambda of=attempt["runId"]: self.webserver.ask(_EVENTS, id=of)["logsForRun"]["events"])
            planned = set(_models(events, "AssetMaterializationPlannedEvent"))
            built = Counter(_models(events, "MaterializationEvent"))
            assert not planned & stored, f"{told}: {planned & stored} are to be built again in {attempt['runId']}"
            assert set(built.values()) <= {1}, f"{told}: {built} in {attempt['runId']}"
            stored |= set(built)
            begun_in_vain.update(planned - set(built))
            for event in events:
                if event["__typename"] == "AssetCheckEvaluationEvent" and event["evaluation"]["success"]:
                    passed.add(event["evaluation"]["checkName"])
        assert stored == set(MODELS), f"{told}: {set(MODELS) - stored} were never built"
        assert passed == {f"not_null_{name}_id" for name in MODELS}, f"{told}: of the checks passed {passed}"
        by_dbt = self.tenant.built()
        by_dbt.subtract(chain.built_before)
        for name in MODELS:
            assert 1 <= by_dbt[name] <= 1 + begun_in_vain[name], (
                f"{told}: dbt has built {name} {by_dbt[name]} times; interrupted before it: {begun_in_vain[name]}"
            )
        rows = self.tenant.rows()
        self._undisturbed = self._undisturbed or rows
        assert rows == self._undisturbed, f"{told}: other rows than those of a run that nobody disturbed"


def _is_over(last: dict[str, Any]) -> bool:
    # A failure is final once it is said that nothing follows it.
    return last["status"] in FINAL - {"FAILURE"} or last["tags"].get("dagster/will_retry") == "false"


def _models(events: list[dict[str, Any]], kind: str) -> list[str]:
    return [event["assetKey"]["path"][-1] for event in events if event["__typename"] == kind]
