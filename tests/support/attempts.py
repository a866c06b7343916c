"""A run and those that took it up, as a test looks at them: what was built in all, and how it came to its end."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.support.webserver import FINAL, Webserver, wait_until


def attempts(webserver: Webserver, run_id: str) -> list[dict[str, Any]]:
    """A run and its successors, the first one first."""
    by_parent = {run["parentRunId"]: run for run in webserver.runs()}
    found = [webserver.run(run_id)]
    while found[-1]["runId"] in by_parent:
        found.append(by_parent[found[-1]["runId"]])
    return found


def last_attempt(webserver: Webserver, run_id: str, timeout_seconds: float = 240.0) -> dict[str, Any]:
    """The last attempt, once it has ended and none follows it; its failure is the test's."""

    def is_over() -> bool:
        last = attempts(webserver, run_id)[-1]
        # A failure is final once it is said that nothing follows it.
        return last["status"] in FINAL - {"FAILURE"} or last["tags"].get("dagster/will_retry") == "false"

    wait_until(is_over, f"run {run_id} and what takes it up have ended", timeout_seconds)
    last = attempts(webserver, run_id)[-1]
    assert last["status"] == "SUCCESS", webserver.failure(last["runId"])
    return last


def builds(webserver: Webserver, run_id: str) -> Counter[str]:
    """How often each asset was recorded as built, by all attempts together."""
    return Counter(
        "/".join(event["assetKey"]["path"])
        for attempt in attempts(webserver, run_id)
        for event in webserver.events(attempt["runId"])
        if event["__typename"] == "MaterializationEvent"
    )
