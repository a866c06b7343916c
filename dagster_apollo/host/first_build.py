"""Building what was never built, when a laptop's stack starts: asked of the webserver, as a person would ask it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dagster_apollo.errors import HostError, Problem

_POLL_SECONDS = 1.0
_REPOSITORY = "__repository__"
_FINAL = {"SUCCESS", "FAILURE", "CANCELED"}

_NODES = """
query Nodes($selector: RepositorySelector!) {
  repositoryOrError(repositorySelector: $selector) {
    __typename
    ... on Repository { assetNodes {
      assetKey { path } isMaterializable opNames
      assetMaterializations(limit: 1) { runId }
      assetChecksOrError { ... on AssetChecks { checks {
        name executionForLatestMaterialization { status } } } }
    } }
    ... on PythonError { message }
    ... on RepositoryNotFoundError { message }
  }
}"""
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
  runOrError(runId: $id) { ... on Run { status stats { ... on RunStatsSnapshot { materializations stepsFailed } } } }
}"""
_FAILURES = """
query Failures($id: ID!) {
  logsForRun(runId: $id) { ... on EventConnection { events {
    ... on ExecutionStepFailureEvent { error { message } failureMetadata { description } }
    ... on RunFailureEvent { error { message } message }
  } } }
}"""


def build_what_was_never_built(
    address: str, tenants: Sequence[str], say: Callable[[str], None], still_running: Callable[[], None]
) -> dict[str, str]:
    """Launch one run a tenant for the assets that have no materialization, then its source freshness; and watch.

    Args:
        address: the webserver's.
        tenants: the code locations.
        say: prints one line of progress.
        still_running: raises when the stack has ended.

    Returns:
        The last run's status by tenant: only tenants of which something was built.
    """
    running, wanted, ended = {}, {}, {}
    for tenant in tenants:
        keys, known = _never_built(address, tenant)
        if keys is None:
            say(f"{tenant}: its location does not load; the page shows why")
        elif not keys:
            say(f"{tenant}: everything of {known} assets was built before")
        else:
            running[tenant] = _launch(address, tenant, "__ASSET_JOB", keys)
            wanted[tenant] = len(keys)
            say(f"{tenant}: building {len(keys)} of {known} assets")
    told: dict[str, str] = {}
    while running:
        still_running()
        time.sleep(_POLL_SECONDS)
        for tenant, run_id in list(running.items()):
            run = _ask(address, _RUN, {"id": run_id})["runOrError"]
            built = (run.get("stats") or {}).get("materializations") or 0
            line = f"{tenant}: {run['status'].lower()}, {built} of {wanted[tenant]} built"
            if line != told.get(tenant) and (built % 10 == 0 or run["status"] in _FINAL):
                say(line)
                told[tenant] = line
            if run["status"] not in _FINAL:
                continue
            del running[tenant]
            ended[tenant] = run["status"]
            if run["status"] != "SUCCESS":
                say(f"{tenant}: {_why(address, run_id)}\n    {address}/runs/{run_id}")
            elif wanted[tenant] and None in _outcomes(address, tenant) and _has_freshness(address, tenant):
                running[tenant] = _launch(address, tenant, f"{tenant}__freshness", [])
                wanted[tenant] = 0
                told[tenant] = f"{tenant}: started, 0 of 0 built"
                say(f"{tenant}: checking how fresh its sources are")
    for tenant, status in ended.items():
        if status == "SUCCESS":
            say(f"{tenant}: {_checks(address, tenant)}")
    return ended


def _never_built(address: str, tenant: str) -> tuple[list[list[str]] | None, int]:
    nodes = _asset_nodes(address, tenant)
    if nodes is None:
        return None, 0
    ours = [node for node in nodes if node["isMaterializable"] and f"{tenant}__dbt_build" in node["opNames"]]
    return [node["assetKey"]["path"] for node in ours if not node["assetMaterializations"]], len(ours)


def _checks(address: str, tenant: str) -> str:
    outcomes = _outcomes(address, tenant)
    return f"built; {outcomes.count('SUCCEEDED')} of {len(outcomes)} checks passed"


def _outcomes(address: str, tenant: str) -> list[str | None]:
    """Of every check, how it went on what is there now; None for one that was not evaluated."""
    return [
        (check["executionForLatestMaterialization"] or {}).get("status")
        for node in _asset_nodes(address, tenant) or []
        for check in (node["assetChecksOrError"] or {}).get("checks", [])
    ]


def _asset_nodes(address: str, tenant: str) -> list[dict[str, Any]] | None:
    selector = {"repositoryName": _REPOSITORY, "repositoryLocationName": tenant}
    answer = _ask(address, _NODES, {"selector": selector})["repositoryOrError"]
    nodes: list[dict[str, Any]] | None = answer.get("assetNodes") if answer["__typename"] == "Repository" else None
    return nodes


def _has_freshness(address: str, tenant: str) -> bool:
    query = "query($s: PipelineSelector!) { pipelineOrError(params: $s) { __typename } }"
    selector = {"pipelineName": f"{tenant}__freshness", "repositoryName": _REPOSITORY, "repositoryLocationName": tenant}
    return bool(_ask(address, query, {"s": selector})["pipelineOrError"]["__typename"] == "Pipeline")


def _launch(address: str, tenant: str, job: str, keys: Sequence[Sequence[str]]) -> str:
    selector: dict[str, Any] = {
        "jobName": job,
        "repositoryName": _REPOSITORY,
        "repositoryLocationName": tenant,
    }
    if keys:
        selector["assetSelection"] = [{"path": list(path)} for path in keys]
    answer = _ask(address, _LAUNCH, {"params": {"selector": selector, "mode": "default", "runConfigData": "{}"}})
    launched = answer["launchRun"]
    if launched["__typename"] != "LaunchRunSuccess":
        told = launched.get("message") or json.dumps(launched.get("errors") or launched["__typename"])
        raise HostError([Problem(tenant, f"its run cannot be launched: {told}", f"See {address}.")])
    return str(launched["run"]["runId"])


def _why(address: str, run_id: str) -> str:
    events = _ask(address, _FAILURES, {"id": run_id})["logsForRun"].get("events", [])
    for event in events:
        if description := (event.get("failureMetadata") or {}).get("description") if event else None:
            return str(description)
    messages = [event["error"]["message"] for event in events if event and event.get("error")]
    return messages[0] if messages else "the run failed"


def _ask(address: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310
    # The webserver is on this machine: a proxy in the environment has no part in it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=120) as response:
            answer = json.loads(response.read())
    except urllib.error.HTTPError as error:
        answer = json.loads(error.read() or b"{}")
    if "data" not in answer or answer.get("errors"):
        told = json.dumps(answer.get("errors"))[:500]
        raise HostError([Problem(address, f"the webserver cannot answer: {told}", "See .apollo/logs/webserver.log.")])
    data: dict[str, Any] = answer["data"]
    return data
