"""What a test asks a running webserver, over GraphQL, as the pages of the UI do."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

RUN_TIMEOUT_SECONDS = 240.0
FINAL = {"SUCCESS", "FAILURE", "CANCELED"}
_REPOSITORY = "__repository__"

_ASSETS = """
query Assets($selector: RepositorySelector!) {
  repositoryOrError(repositorySelector: $selector) {
    __typename
    ... on PythonError { message }
    ... on Repository { assetNodes {
      assetKey { path } isMaterializable groupName
      assetMaterializations(limit: 1) {
        runId
        metadataEntries { label description
          ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr }
          ... on JsonMetadataEntry { jsonString }
          ... on FloatMetadataEntry { floatValue } ... on IntMetadataEntry { intValue }
        }
      }
      assetChecksOrError { ... on AssetChecks { checks {
        name executionForLatestMaterialization { status } } } }
    } }
  }
}"""
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
_REEXECUTE = """
mutation Reexecute($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""
_TERMINATE = """
mutation Terminate($id: String!) {
  terminateRun(runId: $id) {
    __typename
    ... on TerminateRunFailure { message }
    ... on PythonError { message }
  }
}"""
_RUN = "runId parentRunId jobName status startTime endTime tags { key value }"
_EVENTS = """
query Events($id: ID!) {
  logsForRun(runId: $id) { ... on EventConnection { events {
    __typename
    ... on MessageEvent { message timestamp }
    ... on ExecutionStepFailureEvent { error { message } failureMetadata { description } }
    ... on RunFailureEvent { error { message } }
    ... on MaterializationEvent { assetKey { path } }
    ... on AssetCheckEvaluationEvent { evaluation { checkName success } }
  } } }
}"""

_SENSOR = """
query Sensor($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { ... on Sensor { sensorState {
    status ticks(limit: 20) { status timestamp skipReason error { causes { message } } } } } }
}"""


@dataclass(frozen=True)
class Webserver:
    """A webserver at an address such as `http://127.0.0.1:3000`.

    Attributes:
        token: of `apollo tokens new`, where there is a login.
    """

    address: str
    token: str | None = field(default=None, repr=False)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL answer; an error in it fails the test."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(f"{self.address}/graphql", body, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.code}: {error.read().decode(errors='replace')}") from None
        assert not answer.get("errors"), answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def assets(self, tenant: str) -> dict[str, dict[str, Any]]:
        """A tenant's asset nodes by key, `a/b/c`: last materialization with its metadata, checks with their status."""
        selector = {"repositoryName": _REPOSITORY, "repositoryLocationName": tenant}
        answer = self.ask(_ASSETS, selector=selector)["repositoryOrError"]
        assert answer["__typename"] == "Repository", answer
        return {"/".join(node["assetKey"]["path"]): node for node in answer["assetNodes"]}

    def locations(self) -> dict[str, str | None]:
        """Every code location, with its load error and that error's causes, or None."""
        query = """{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
            ... on PythonError { message causes { message } } } } } } }"""
        told: dict[str, str | None] = {}
        for entry in self.ask(query)["workspaceOrError"]["locationEntries"]:
            error = entry["locationOrLoadError"] or {}
            messages = [error.get("message"), *(cause["message"] for cause in error.get("causes", []))]
            told[entry["name"]] = "\n".join(filter(None, messages)) or None
        return told

    def launch(self, tenant: str, job: str, assets: Sequence[str] = ()) -> str:
        """Launch a job, narrowed to some assets; the run's id."""
        selector: dict[str, Any] = {
            "jobName": job,
            "repositoryName": _REPOSITORY,
            "repositoryLocationName": tenant,
        }
        if assets:
            selector["assetSelection"] = [{"path": key.split("/")} for key in assets]
        answer = self.ask(_LAUNCH, params={"selector": selector, "mode": "default", "runConfigData": "{}"})
        return _launched(answer["launchRun"])

    def materialize(self, tenant: str, assets: Sequence[str]) -> str:
        """Launch what the button `Materialize` of the asset pages launches; the run's id."""
        return self.launch(tenant, "__ASSET_JOB", assets)

    def reexecute(self, run_id: str, strategy: str = "FROM_ASSET_FAILURE") -> str:
        """Launch what the button `Re-execute` launches; the new run's id."""
        answer = self.ask(_REEXECUTE, params={"parentRunId": run_id, "strategy": strategy})
        return _launched(answer["launchRunReexecution"])

    def run(self, run_id: str) -> dict[str, Any]:
        """A run's status, times and tags."""
        query = f"query Run($id: ID!) {{ runOrError(runId: $id) {{ __typename ... on Run {{ {_RUN} }} }} }}"
        found: dict[str, Any] = self.ask(query, id=run_id)["runOrError"]
        return {**found, "tags": {tag["key"]: tag["value"] for tag in found["tags"]}}

    def terminate(self, run_id: str) -> None:
        """Cancel a run, as the button does; refused fails the test."""
        answer = self.ask(_TERMINATE, id=run_id)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the newest first."""
        found = self.ask(f"{{ runsOrError {{ ... on Runs {{ results {{ {_RUN} }} }} }} }}")["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """A run's events, the oldest first; a `timestamp` is text, in milliseconds."""
        found: list[dict[str, Any]] = self.ask(_EVENTS, id=run_id)["logsForRun"]["events"]
        return found

    def built(self, run_id: str) -> set[str]:
        """The keys of what a run materialized."""
        return {
            "/".join(event["assetKey"]["path"])
            for event in self.events(run_id)
            if event["__typename"] == "MaterializationEvent"
        }

    def looks(self, tenant: str, sensor: str) -> list[dict[str, Any]]:
        """The last looks of a sensor that runs, the newest first; a `timestamp` is in seconds."""
        selector = {"repositoryLocationName": tenant, "repositoryName": _REPOSITORY, "sensorName": sensor}
        state = self.ask(_SENSOR, selector=selector)["sensorOrError"]["sensorState"]
        assert state["status"] == "RUNNING"
        found: list[dict[str, Any]] = state["ticks"]
        return found

    def wait_for_run(self, run_id: str) -> dict[str, Any]:
        """The run, once it has ended."""
        wait_until(lambda: self.run(run_id)["status"] in FINAL, f"run {run_id} ends")
        return self.run(run_id)

    def finish(self, run_id: str) -> dict[str, Any]:
        """The run, once it has ended well; its failure is the test's."""
        run = self.wait_for_run(run_id)
        assert run["status"] == "SUCCESS", self.failure(run_id)
        return run

    def failure(self, run_id: str) -> str:
        """What a failed run says of itself."""
        told = []
        for event in self.events(run_id):
            if event["__typename"] in ("ExecutionStepFailureEvent", "RunFailureEvent"):
                description = (event.get("failureMetadata") or {}).get("description")
                told.append(description or (event.get("error") or {}).get("message") or event["message"])
        return "\n".join(told)


def wait_until(holds: Callable[[], object], what: str, timeout_seconds: float = RUN_TIMEOUT_SECONDS) -> None:
    """Wait for something that other processes do; fail with what it was."""
    end = time.monotonic() + timeout_seconds
    while not holds():
        assert time.monotonic() < end, f"within {timeout_seconds:g} s it did not happen that {what}"
        time.sleep(0.2)


def _launched(answer: dict[str, Any]) -> str:
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])
