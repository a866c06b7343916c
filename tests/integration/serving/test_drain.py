"""SIGTERM to the code host: a run in flight ends by itself, no new one begins, and the time that is given is kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Postgres
from tests.support.roles import Roles, roles_of
from tests.support.tenants import Gate, write_tenant

pytestmark = pytest.mark.slow


@pytest.fixture
def gate(folder: Path) -> Gate:
    return Gate(folder / "gate")


@pytest.fixture
def roles(folder: Path, postgres: Postgres, gate: Gate) -> Iterator[Roles]:
    with roles_of(folder, postgres) as made:
        write_tenant(made.tenants_dir, "alpha", {"slow.py": gate.model()})
        yield made


def test_a_run_in_flight_is_let_end(roles: Roles, gate: Gate) -> None:
    roles.start_all()
    run_id = roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/slow"])
    roles.wait_until(lambda: gate.reached, "the run is in its model")

    host = roles.running["code"]
    host.send_signal(signal.SIGTERM)
    roles.wait_until(lambda: '"draining": true' in roles.get("/locations", "code")[1], "it drains")
    later = roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/slow"])
    gate.open()

    assert roles.webserver.finish(run_id)["status"] == "SUCCESS"
    assert host.wait(90) == 0
    assert roles.webserver.run(later)["status"] != "SUCCESS"


def test_when_the_time_is_over_everything_ends(roles: Roles, gate: Gate) -> None:
    roles.start_all(APOLLO_DRAIN_SECONDS="2")
    roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/slow"])
    roles.wait_until(lambda: gate.reached, "the run is in its model")
    served = roles.tenant_process("alpha")
    runs = served.children(recursive=True)

    assert roles.stop("code") == 0
    assert "still at work: alpha" in roles.said("code")
    roles.wait_until(lambda: not any(process.is_running() for process in [served, *runs]), "nothing is left of it")
