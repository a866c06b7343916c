"""One run of a tenant's dbt at a time, whoever launched it; the tenants do not wait for each other."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.stack import COMMAND, StartStack, bare_environment
from tests.support.tenants import Gate, write_tenant
from tests.support.webserver import wait_until

pytestmark = pytest.mark.slow


def test_runs_of_a_tenant_follow_each_other_while_another_tenant_builds(folder: Path, start_stack: StartStack) -> None:
    gates = {name: Gate(folder / name) for name in ("one", "two")}
    for name, gate in gates.items():
        # Each model of `one` refuses to be built twice at once, and DuckDB would refuse a second writer.
        write_tenant(folder / "tenants", name, {"first.sql": "select 1 as id", "slow.py": gate.model("first")})
    environ = bare_environment(folder, APOLLO_TENANTS_DIR=str(folder / "tenants"))
    stack = start_stack(environ, command=[*COMMAND, "--no-build"]).wait_until_ready()
    webserver = stack.webserver

    first = webserver.materialize("one", ["one/first", "one/slow"])
    wait_until(lambda: gates["one"].reached, "the first run of one is in its model")
    as_a_job = webserver.launch("one", "one__build")
    other_assets = webserver.materialize("one", ["one/first"])
    other_tenant = webserver.materialize("two", ["two/first", "two/slow"])
    wait_until(lambda: gates["two"].reached, "the run of two is in its model, beside the one of one")

    statuses = {run_id: webserver.run(run_id)["status"] for run_id in (first, as_a_job, other_assets, other_tenant)}
    assert statuses == {first: "STARTED", as_a_job: "QUEUED", other_assets: "QUEUED", other_tenant: "STARTED"}

    for gate in gates.values():
        gate.open()
    webserver.finish(other_tenant)
    spans = sorted((run["startTime"], run["endTime"]) for run in map(webserver.finish, (first, as_a_job, other_assets)))
    for (_, earlier_end), (later_start, _) in pairwise(spans):
        assert earlier_end <= later_start
