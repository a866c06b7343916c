"""Asks a deployed webserver, as its administrator, for all that it tells of one tenant: routes, pages, all of GraphQL.

What is asked of GraphQL follows from the schema (`graphql_walk.py`). What the answers must not hold is the caller's.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import httpx

from tests.support.deployed_stack import DeployedStack
from tests.support.graphql_walk import SCHEMA, Names, as_text, prune_failing, questions
from tests.support.scoped_world import Past, selector

_DEPTH, _MOST = 3, 1500
_REPOSITORY = """query($s: RepositorySelector!) { repositoryOrError(repositorySelector: $s) {
    ... on Repository { id schedules { name scheduleState { id selectorId } } } } }"""
_OUTPUT = """query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
    ... on LogsCapturedEvent { fileKey } } } } }"""
_WHERE = "query($key: [String!]!) { capturedLogsMetadata(logKey: $key) { stdoutDownloadUrl stderrDownloadUrl } }"


def everything(stack: DeployedStack, tenant: str, runs: dict[str, str], asset: str) -> Iterator[tuple[str, str]]:
    """What was asked, and the whole answer with its headers.

    Args:
        runs: ids of the tenant's runs, by what was launched.
        asset: the last part of the key of one of its assets.
    """
    asking = _Asking(stack)
    with asking.client:
        yield from asking.routes(tenant, runs, asset)
        yield from asking.graphql(tenant, runs, asset)


class _Asking:
    def __init__(self, stack: DeployedStack) -> None:
        self._webserver = stack.webserver
        headers = {"Authorization": f"Bearer {stack.credentials.token}"}
        self.client = httpx.Client(base_url=stack.address, headers=headers, timeout=120, trust_env=False)

    def routes(self, tenant: str, runs: dict[str, str], asset: str) -> Iterator[tuple[str, str]]:
        """Everything that is no GraphQL."""
        paths = ["/", "/livez", "/status", "/status?format=prometheus", "/metrics", "/server_info", "/login", "/logout"]
        paths += ["/login/oidc", "/graphql", f"/assets/{tenant}/{asset}", f"/locations/{tenant}", "/no/such/page"]
        for run_id in runs.values():
            paths += [f"/runs/{run_id}", f"/download_debug/{run_id}"]
            for key in self._output_of(run_id):
                found = self._webserver.ask(_WHERE, key=key)["capturedLogsMetadata"]
                paths += [path for path in found.values() if path]
        for path in paths:
            accepted = "text/html" if path == "/graphql" else "*/*"
            yield path, _whole(self.client.get(path, headers={"Accept": accepted}))
        body = {"asset_key": f"{tenant}/{asset}", "description": "reported by a test"}
        yield "report", _whole(self.client.post("/report_asset_materialization/", json=body))

    def graphql(self, tenant: str, runs: dict[str, str], asset: str) -> Iterator[tuple[str, str]]:
        """Every query field, with everything below it."""
        names = self._names(tenant, runs, asset)
        for field, asked in SCHEMA.query_type.fields.items():
            for nodes in questions(names, field, asked, _DEPTH, _MOST):
                while True:
                    answer = self.client.post("/graphql", json={"query": f"{{ {as_text(nodes)} }}"})
                    assert answer.status_code != 400, f"the question itself is wrong: {field}: {answer.text[:2000]}"
                    yield field, _whole(answer)
                    if not prune_failing(nodes, names, [answer.json()]):
                        break

    def _output_of(self, run_id: str) -> list[list[str]]:
        events = self._webserver.ask(_OUTPUT, run=run_id)["logsForRun"]["events"]
        return [[run_id, "compute_logs", event["fileKey"]] for event in events if event.get("fileKey")]

    def _names(self, tenant: str, runs: dict[str, str], asset: str) -> Names:
        """The names of the walk's own world, replaced by this tenant's."""
        found = self._webserver.ask(_REPOSITORY, s=selector(tenant))["repositoryOrError"]
        states = {each["name"]: each["scheduleState"] for each in found["schedules"]}
        names = Names(
            Past(
                tenant,
                repository=found["id"],
                runs=runs,
                backfills={"none": "nosuchid"},
                instigators={name: (str(state["id"]), state["selectorId"], 1) for name, state in states.items()},
                log_keys=[key for run_id in runs.values() for key in self._output_of(run_id)],
            )
        )
        own = {"orders": asset, "nightly": f"{tenant}__build", "nightly_schedule": next(iter(states), "none")}
        own["step"] = f"{tenant}__{asset}"
        for values in (names.by_type, names.by_name, names.by_root):
            for key, value in list(values.items()):
                values[key] = _replaced(value, own)
        return names


def _replaced(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {key: _replaced(entry, names) for key, entry in value.items()}
    return [_replaced(entry, names) for entry in value] if isinstance(value, list) else value


def _whole(answer: httpx.Response) -> str:
    headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.multi_items())
    # A debug file is compressed once more than the transfer is.
    packed = answer.content.startswith(b"\x1f\x8b")
    body = gzip.decompress(answer.content) if packed else answer.content
    return f"{answer.status_code}\n{headers}\n{body.decode(errors='surrogateescape')}\n"
