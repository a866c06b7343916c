"""What was never built is asked for, launched once a tenant and watched; what became of it is said in lines.

The webserver's answers are given by a server on loopback; `tests/e2e/` asks the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dagster_apollo.errors import HostError
from dagster_apollo.host import first_build
from dagster_apollo.host.first_build import build_what_was_never_built
from tests.support.canned_http import canned_http


class Webserver:
    """Dagster's GraphQL as far as it is asked here: tenants with their assets, and runs that end as they are told."""

    def __init__(self, **tenants: dict[str, bool] | None) -> None:
        self.tenants = tenants
        self.launched: list[dict[str, Any]] = []
        self.statuses: list[str] = ["STARTED", "SUCCESS"]
        self.events: list[dict[str, Any] | None] = []
        self.refuses: dict[str, Any] | None = None
        self.refused: set[str] = set(tenants)
        self.freshness_jobs: set[str] = set()
        self.needs: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self.partitioned: dict[str, tuple[list[str], str]] = {}
        self._asked: dict[str, int] = {}

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        assert path == "/graphql"
        query, variables = body["query"], body["variables"]
        if "repositoryOrError" in query:
            return 200, {"data": {"repositoryOrError": self._repository(variables["selector"])}}
        if "pipelineOrError" in query:
            known = variables["selector"]["pipelineName"] in self.freshness_jobs
            return 200, {"data": {"pipelineOrError": {"__typename": "Pipeline" if known else "PipelineNotFoundError"}}}
        if "launchRun" in query:
            if self.refuses and variables["params"]["selector"]["repositoryLocationName"] in self.refused:
                return 200, {"data": {"launchRun": self.refuses}}
            self.launched.append(variables["params"])
            launched = {"__typename": "LaunchRunSuccess", "run": {"runId": f"run-{len(self.launched)}"}}
            return 200, {"data": {"launchRun": launched}}
        if "logsForRun" in query:
            return 200, {"data": {"logsForRun": {"events": self.events}}}
        step = self._asked[variables["id"]] = self._asked.get(variables["id"], -1) + 1
        status = self.statuses[min(step, len(self.statuses) - 1)]
        return 200, {"data": {"runOrError": {"status": status, "stats": {"materializations": step}}}}

    def _repository(self, selector: dict[str, str]) -> dict[str, Any]:
        assets = self.tenants[selector["repositoryLocationName"]]
        if assets is None:
            return {"__typename": "PythonError", "message": "no"}
        tenant = selector["repositoryLocationName"]
        return {"__typename": "Repository", "assetNodes": [self._node(tenant, *asset) for asset in assets.items()]}

    def _node(self, tenant: str, name: str, built: bool) -> dict[str, Any]:
        keys, policy = self.partitioned.get(name, ([], ""))
        return {
            "assetKey": {"path": [tenant, name]},
            "isMaterializable": name != "source",
            "dependencyKeys": [{"path": list(key)} for key in self.needs.get((tenant, name), [])],
            "partitionDefinition": {"description": f"as {name}"} if keys else None,
            "partitionKeys": keys,
            "backfillPolicy": {"policyType": policy} if keys else None,
            "assetMaterializations": [{"runId": "x"}] if built else [],
            "assetChecksOrError": {
                "checks": [
                    {"name": "c", "executionForLatestMaterialization": {"status": "SUCCEEDED"} if built else None}
                ]
            },
        }


@pytest.fixture(autouse=True)
def _ask_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_build, "_POLL_SECONDS", 0.01)


@contextmanager
def building(webserver: Webserver) -> Iterator[tuple[dict[str, str], list[str]]]:
    lines: list[str] = []
    with canned_http(webserver.answer) as port:
        address = f"http://127.0.0.1:{port}"
        ended = build_what_was_never_built(address, list(webserver.tenants), lines.append, lambda: None)
        yield ended, [line.replace(address, "ADDRESS") for line in lines]


def test_one_run_a_tenant_is_launched_for_what_has_no_materialization() -> None:
    webserver = Webserver(shop={"a": False, "b": True, "c": False}, cellar={"a": False})

    with building(webserver) as (ended, lines):
        assert ended == {"shop": "SUCCESS", "cellar": "SUCCESS"}
        assert "shop: building 2 of 3 assets" in lines

    assert [params["selector"] for params in webserver.launched] == [
        {
            "jobName": "__ASSET_JOB",
            "repositoryName": "__repository__",
            "repositoryLocationName": tenant,
            "assetSelection": [{"path": [tenant, name]} for name in names],
        }
        for tenant, names in (("shop", ["a", "c"]), ("cellar", ["a"]))
    ]


def test_sources_are_not_built_here() -> None:
    webserver = Webserver(shop={"source": False, "a": True})

    with building(webserver) as (ended, lines):
        assert ended == {}
        assert lines == ["shop: everything of 1 assets was built before"]
    assert webserver.launched == []


def test_a_location_waits_for_the_one_whose_assets_its_own_are_built_from() -> None:
    webserver = Webserver(shop__counts={"count": False}, shop__dbt={"model": False}, shop__ingestion={"raw": False})
    webserver.needs = {
        ("shop__counts", "count"): [("shop__dbt", "model")],
        ("shop__dbt", "model"): [("shop__ingestion", "raw"), ("shop__ingestion", "built_before")],
    }

    with building(webserver) as (ended, _):
        assert set(ended.values()) == {"SUCCESS"}

    locations = [params["selector"]["repositoryLocationName"] for params in webserver.launched]
    assert locations == ["shop__ingestion", "shop__dbt", "shop__counts"]


def test_what_is_built_from_what_failed_is_not_tried_and_what_is_not_is() -> None:
    webserver = Webserver(shop__ingestion={"raw": False}, shop__dbt={"model": False}, cellar={"a": False})
    webserver.needs = {("shop__dbt", "model"): [("shop__ingestion", "raw")]}
    webserver.refuses, webserver.refused = {"__typename": "UnauthorizedError"}, {"shop__ingestion"}

    with building(webserver) as (ended, lines):
        assert ended == {"cellar": "SUCCESS"}
        assert "shop__dbt: is not built, since shop__ingestion was not" in lines


def test_all_partitions_are_built_with_the_rest_where_one_run_builds_them() -> None:
    webserver = Webserver(shop={"seed": False, "daily": False})
    webserver.partitioned = {"daily": (["2026-01-01", "2026-01-02", "2026-01-03"], "SINGLE_RUN")}

    with building(webserver) as (ended, lines):
        assert ended == {"shop": "SUCCESS"}
        assert "shop: success, 1 of 4 built" in lines

    [params] = webserver.launched
    assert params["executionMetadata"]["tags"] == [
        {"key": "dagster/asset_partition_range_start", "value": "2026-01-01"},
        {"key": "dagster/asset_partition_range_end", "value": "2026-01-03"},
    ]


def test_the_last_partition_is_built_where_each_has_a_run_of_its_own() -> None:
    webserver = Webserver(shop={"daily": False, "hourly": False})
    webserver.partitioned = {"daily": (["a", "b"], "MULTI_RUN"), "hourly": (["c", "d"], "MULTI_RUN")}

    with building(webserver) as (ended, _):
        assert ended == {"shop": "SUCCESS"}

    tags = [params["executionMetadata"]["tags"] for params in webserver.launched]
    assert tags == [[{"key": "dagster/partition", "value": key}] for key in ("b", "d")]


def test_a_location_that_does_not_load_keeps_no_other_from_being_built() -> None:
    webserver = Webserver(broken=None, shop={"a": False})

    with building(webserver) as (ended, lines):
        assert ended == {"shop": "SUCCESS"}
        assert lines[0] == "broken: its location does not load; the page shows why"


def test_freshness_is_checked_once_the_build_has_ended_well() -> None:
    webserver = Webserver(shop={"a": False})
    webserver.freshness_jobs = {"shop__freshness"}

    with building(webserver) as (ended, lines):
        assert ended == {"shop": "SUCCESS"}
        assert lines.count("shop: checking how fresh its sources are") == 1

    assert [params["selector"]["jobName"] for params in webserver.launched] == ["__ASSET_JOB", "shop__freshness"]
    assert "assetSelection" not in webserver.launched[1]["selector"]


@pytest.mark.parametrize("status", ["FAILURE", "CANCELED"])
def test_a_run_that_ends_badly_says_why_and_where(status: str) -> None:
    webserver = Webserver(shop={"a": False})
    webserver.statuses = ["STARTED", status]
    webserver.freshness_jobs = {"shop__freshness"}
    webserver.events = [{}, None, {"error": {"message": "outer"}, "failureMetadata": {"description": "model a: no"}}]

    with building(webserver) as (ended, lines):
        assert ended == {"shop": status}
        assert lines[-1] == "shop: model a: no\n    ADDRESS/runs/run-1"
    assert len(webserver.launched) == 1, "nothing follows a build that failed"


@pytest.mark.parametrize(
    ("events", "told"),
    [([], "the run failed"), ([{"error": {"message": "boom"}, "failureMetadata": None}], "boom")],
)  # fmt: skip
def test_a_failure_without_a_description_is_told_by_its_error(events: list[dict[str, Any] | None], told: str) -> None:
    webserver = Webserver(shop={"a": False})
    webserver.statuses, webserver.events = ["FAILURE"], events

    with building(webserver) as (_, lines):
        assert lines[-1].startswith(f"shop: {told}\n")


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ({"__typename": "PythonError", "message": "no such job"}, "no such job"),
        ({"__typename": "RunConfigValidationInvalid", "errors": [{"message": "bad config"}]}, "bad config"),
        ({"__typename": "UnauthorizedError"}, "UnauthorizedError"),
    ],
)
def test_a_run_that_cannot_be_launched_is_told_and_keeps_no_other_from_being_built(
    refusal: dict[str, Any], told: str
) -> None:
    webserver = Webserver(shop={"a": False}, cellar={"a": False})
    webserver.refuses, webserver.refused = refusal, {"shop"}

    with building(webserver) as (ended, lines):
        assert ended == {"cellar": "SUCCESS"}
        [line] = [line for line in lines if line.startswith("shop: cannot be built")]
        assert "its run cannot be launched:" in line
        assert told in line


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_webserver_that_cannot_answer_is_told(status: int) -> None:
    refusing = canned_http(lambda *_: (status, {"errors": [{"message": "no schema"}]}))

    with refusing as port, pytest.raises(HostError, match=r"the webserver cannot answer: .*no schema"):
        build_what_was_never_built(f"http://127.0.0.1:{port}", ["shop"], lambda _: None, lambda: None)


def test_watching_ends_with_the_stack() -> None:
    webserver = Webserver(shop={"a": False})
    webserver.statuses = ["STARTED"]

    def ended() -> None:
        raise KeyboardInterrupt

    with canned_http(webserver.answer) as port, pytest.raises(KeyboardInterrupt):
        build_what_was_never_built(f"http://127.0.0.1:{port}", ["shop"], lambda _: None, ended)


def test_a_proxy_in_the_environment_has_no_part_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    with building(Webserver(shop={"a": False})) as (ended, _):
        assert ended == {"shop": "SUCCESS"}
