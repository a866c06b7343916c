"""What is asked of a webserver on this machine, over Dagster's GraphQL, and what it answers.

One function a question. Which questions follow from which answers is decided by those who ask: `first_build.py`.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster_apollo.errors import HostError, Problem

_REPOSITORY = "__repository__"
_TIMEOUT_SECONDS = 120
# The job that Dagster makes of every location's assets.
ASSET_JOB = "__ASSET_JOB"

_NODES = """
query Nodes($selector: RepositorySelector!) {
  repositoryOrError(repositorySelector: $selector) {
    __typename
    ... on Repository { assetNodes {
      assetKey { path } isMaterializable dependencyKeys { path }
      partitionDefinition { description } partitionKeys backfillPolicy { policyType }
      assetMaterializations(limit: 1) { runId }
      assetChecksOrError { ... on AssetChecks { checks {
        name executionForLatestMaterialization { status } } } }
    } }
    ... on PythonError { message }
    ... on RepositoryNotFoundError { message }
  }
}"""
_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { ... on PythonError { className } }
} } } }"""
# How Dagster calls that a location could not be reached.
_UNREACHED = "DagsterUserCodeUnreachableError"
_JOB = "query Job($selector: PipelineSelector!) { pipelineOrError(params: $selector) { __typename } }"
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
_RUN = """
query Run($id: ID!) {
  runOrError(runId: $id) { ... on Run { status stats { ... on RunStatsSnapshot { materializations } } } }
}"""
_LAUNCH_BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on Error { message }
  }
}"""
_BACKFILL = """
query Backfill($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } runs(limit: 500) { id status } }
    ... on Error { message }
  }
}"""
_FAILURES = """
query Failures($id: ID!) {
  logsForRun(runId: $id) { ... on EventConnection { events {
    ... on ExecutionStepFailureEvent { error { message } failureMetadata { description } }
    ... on RunFailureEvent { error { message } message }
  } } }
}"""


@dataclass(frozen=True)
class Partitions:
    """How an asset is partitioned.

    Attributes:
        definition: the same for assets that may be built in one run.
        first, last: the keys at both ends.
        count: how many there are.
        in_one_run: whether all are built by one run; else each has its own.
    """

    definition: str
    first: str
    last: str
    count: int
    in_one_run: bool


@dataclass(frozen=True)
class Asset:
    """One asset of a code location.

    Attributes:
        key: the parts of its key.
        needs: the keys of what it is built from.
        is_materializable: whether the location builds it.
        is_built: whether it was ever materialized, or one of its partitions.
        partitions: None for an asset that has none.
        checks: how each of its checks went on what is there now; None for one that was not evaluated.
    """

    key: tuple[str, ...]
    needs: frozenset[tuple[str, ...]]
    is_materializable: bool
    is_built: bool
    partitions: Partitions | None
    checks: tuple[str | None, ...]


@dataclass(frozen=True)
class RunState:
    """How far a run is: Dagster's status, and how often it has materialized an asset."""

    status: str
    materializations: int


@dataclass(frozen=True)
class BackfillState:
    """How far a backfill is.

    Attributes:
        status: Dagster's.
        runs: its runs so far, id and status.
        error: what keeps it from going on.
    """

    status: str
    runs: tuple[tuple[str, str], ...]
    error: str | None


@dataclass(frozen=True)
class WebserverClient:
    """A webserver, by its address `http://host:port`.

    Each method raises a HostError when the webserver cannot answer.

    Attributes:
        token: a token of `apollo tokens new`, where it has a login; that of `apollo dev` has none.
    """

    address: str
    token: str | None = field(default=None, repr=False)

    def assets(self, location: str) -> list[Asset] | None:
        """All assets that a code location knows; None where it does not load."""
        selector = {"repositoryName": _REPOSITORY, "repositoryLocationName": location}
        answer = self._ask(_NODES, {"selector": selector})["repositoryOrError"]
        return [_asset(node) for node in answer["assetNodes"]] if answer["__typename"] == "Repository" else None

    def reached(self) -> set[str]:
        """The code locations that it has heard: they are loaded, or have said themselves why they cannot be."""
        entries = self._ask(_LOCATIONS, {})["workspaceOrError"].get("locationEntries", ())
        return {
            entry["name"]
            for entry in entries
            if entry["loadStatus"] == "LOADED" and (entry["locationOrLoadError"] or {}).get("className") != _UNREACHED
        }

    def has_job(self, location: str, job: str) -> bool:
        """Whether a code location has a job of this name."""
        selector = {"pipelineName": job, "repositoryName": _REPOSITORY, "repositoryLocationName": location}
        return bool(self._ask(_JOB, {"selector": selector})["pipelineOrError"]["__typename"] == "Pipeline")

    def launch(
        self,
        location: str,
        job: str,
        keys: Sequence[Sequence[str]] = (),
        tags: Mapping[str, str] | None = None,
        run_config: Mapping[str, Any] | None = None,
    ) -> str:
        """Launch a run; its id.

        Args:
            location: the code location.
            job: a job of it.
            keys: the assets; none: all of the job.
            tags: the run's.
            run_config: the run's.

        Raises:
            HostError: also when it is refused.
        """
        selector: dict[str, Any] = {
            "jobName": job,
            "repositoryName": _REPOSITORY,
            "repositoryLocationName": location,
        }
        if keys:
            selector["assetSelection"] = [{"path": list(path)} for path in keys]
        given = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        params = {
            "selector": selector,
            "mode": "default",
            "runConfigData": json.dumps(run_config or {}),
            "executionMetadata": {"tags": given},
        }
        launched = self._ask(_LAUNCH, {"params": params})["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            told = launched.get("message") or json.dumps(launched.get("errors") or launched["__typename"])
            what = f"its run cannot be launched: {' '.join(str(told).split())}"
            raise HostError([Problem(location, what, f"See {self.address}.")])
        return str(launched["run"]["runId"])

    def launch_backfill(
        self, keys: Sequence[Sequence[str]], partitions: Sequence[str], run_config: Mapping[str, Any] | None = None
    ) -> str:
        """Have the daemon launch the runs that partitions of assets ask for; the backfill's id.

        Raises:
            HostError: also when it is refused.
        """
        given = {
            "assetSelection": [{"path": list(path)} for path in keys],
            "partitionNames": list(partitions),
            "runConfigData": json.dumps(run_config or {}),
        }
        launched = self._ask(_LAUNCH_BACKFILL, {"params": given})["launchPartitionBackfill"]
        if launched["__typename"] != "LaunchBackfillSuccess":
            told = launched.get("message") or launched["__typename"]
            what = f"the backfill cannot be launched: {' '.join(str(told).split())}"
            raise HostError([Problem(self.address, what, f"See {self.address}.")])
        return str(launched["backfillId"])

    def backfill_state(self, backfill_id: str) -> BackfillState:
        """How far a backfill is.

        Raises:
            HostError: there is none of this id, any more perhaps.
        """
        found = self._ask(_BACKFILL, {"id": backfill_id})["partitionBackfillOrError"]
        if "status" not in found:
            told = found.get("message") or "the webserver does not know it"
            raise HostError([Problem(f"the backfill {backfill_id}", told, f"See {self.address}/runs.")])
        error = (found.get("error") or {}).get("message")
        runs = tuple((str(run["id"]), str(run["status"])) for run in found.get("runs") or [])
        return BackfillState(str(found["status"]), runs, str(error) if error else None)

    def state(self, run_id: str) -> RunState:
        """How far a run is."""
        run = self._ask(_RUN, {"id": run_id})["runOrError"]
        return RunState(str(run["status"]), int((run.get("stats") or {}).get("materializations") or 0))

    def why_it_failed(self, run_id: str) -> str:
        """What the first failed step says."""
        events = self._ask(_FAILURES, {"id": run_id})["logsForRun"].get("events", [])
        for event in events:
            if description := (event.get("failureMetadata") or {}).get("description") if event else None:
                return str(description)
        messages = [event["error"]["message"] for event in events if event and event.get("error")]
        return messages[0] if messages else "the run failed"

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        address = f"{self.address}/graphql"
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {self.token}"} if self.token else {}),
        }
        request = urllib.request.Request(address, body, headers)  # noqa: S310
        # The webserver is on this machine: a proxy in the environment has no part in it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                remedy = "Set APOLLO_TOKEN to a token of `apollo tokens new`."
                raise HostError([Problem(self.address, "does not let this in", remedy)]) from None
            answer = _json_in(error.read())
        except (urllib.error.URLError, OSError) as error:
            told = getattr(error, "reason", None) or error
            problem = Problem(self.address, f"does not answer: {told}", "Start it (`make dev`), or name another.")
            raise HostError([problem], "the webserver cannot be reached") from None
        if "data" not in answer or answer.get("errors"):
            what = f"the webserver cannot answer: {json.dumps(answer.get('errors'))[:500]}"
            raise HostError([Problem(self.address, what, "See .apollo/logs/webserver.log.")])
        data: dict[str, Any] = answer["data"]
        return data


def _json_in(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _asset(node: Mapping[str, Any]) -> Asset:
    return Asset(
        tuple(node["assetKey"]["path"]),
        frozenset(tuple(key["path"]) for key in node["dependencyKeys"]),
        bool(node["isMaterializable"]),
        bool(node["assetMaterializations"]),
        _partitions(node),
        tuple(
            (check["executionForLatestMaterialization"] or {}).get("status")
            for check in (node["assetChecksOrError"] or {}).get("checks", [])
        ),
    )


def _partitions(node: Mapping[str, Any]) -> Partitions | None:
    # All keys: the connection that gives the last one alone does not know of a definition's end (Dagster 1.13.27).
    definition, keys = node["partitionDefinition"], node["partitionKeys"]
    if not definition or not keys:  # none is there yet
        return None
    in_one_run = (node["backfillPolicy"] or {}).get("policyType") == "SINGLE_RUN"
    return Partitions(str(definition["description"]), keys[0], keys[-1], len(keys), in_one_run)
