"""Lineage as it happens: a run in a process of its own, which ends well, or is cancelled by somebody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.openlineage import problems_of, receiving
from tests.support.stack import COMMAND, StartStack, bare_environment
from tests.support.tenants import Gate, write_tenant
from tests.support.webserver import wait_until

pytestmark = pytest.mark.slow

_CANCEL = "mutation Cancel($id: String!) { terminateRun(runId: $id) { __typename } }"


def test_a_run_that_is_cancelled_is_told_as_aborted_and_the_next_one_as_complete(
    folder: Path, start_stack: StartStack
) -> None:
    gate = Gate(folder / "gate")
    tenants = folder / "tenants"
    write_tenant(tenants, "acme", {"first.sql": "select 1 as id", "slow.py": gate.model("first")})
    with receiving() as receiver:
        environ = bare_environment(folder, APOLLO_TENANTS_DIR=str(tenants), ACME__OPENLINEAGE_URL=receiver.url)
        webserver = start_stack(environ, command=[*COMMAND, "--no-build"]).wait_until_ready().webserver
        cancelled = webserver.launch("acme", "acme__build")
        wait_until(lambda: gate.reached, "the run is in the model")
        assert receiver.kinds() == [("acme.build", "START")], "told while the run is in progress"
        assert webserver.ask(_CANCEL, id=cancelled)["terminateRun"]["__typename"] == "TerminateRunSuccess"
        assert webserver.wait_for_run(cancelled)["status"] == "CANCELED"
        wait_until(lambda: len(receiver.events) == 2, "the end is told")
        assert receiver.kinds()[-1] == ("acme.build", "ABORT")
        gate.forget()
        gate.open()
        finished = webserver.launch("acme", "acme__build")
        webserver.finish(finished)
        wait_until(lambda: receiver.kinds()[-1] == ("acme.build", "COMPLETE"), "the end of the next run is told")
    assert {event["run"]["runId"] for event in receiver.events if event["job"]["name"] == "acme.build"} == {
        cancelled,
        finished,
    }
    assert [problem for event in receiver.events for problem in problems_of(event)] == []
