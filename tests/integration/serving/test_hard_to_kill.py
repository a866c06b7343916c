"""What serves may be killed while a run is at work: the run goes on, is still known, and can be stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dagster_apollo.code_host import protobuf
from tests.support.postgres import Postgres
from tests.support.roles import Roles, roles_of
from tests.support.tenants import Gate, write_tenant

pytestmark = pytest.mark.slow

VICTIMS: dict[str, Callable[[Roles], psutil.Process]] = {
    "the front": lambda roles: roles.code_processes("front")[0],
    "the zygote": lambda roles: roles.code_processes("zygote")[0],
    "the tenant's warm process": lambda roles: roles.tenant_process("alpha"),
    "the process that answers calls": lambda roles: roles.code_processes("serve:alpha")[0],
}


@pytest.fixture(scope="module")
def gate(module_folder: Path) -> Gate:
    return Gate(module_folder / "gate")


@pytest.fixture(scope="module")
def roles(module_folder: Path, postgres: Postgres, gate: Gate) -> Iterator[Roles]:
    with roles_of(module_folder, postgres) as made:
        write_tenant(made.tenants_dir, "alpha", {"slow.py": gate.model()})
        yield made.start_all()


def here(roles: Roles) -> list[str]:
    """The runs that the front knows of."""
    return list(json.loads(protobuf.text(roles.call_front("GetCurrentRuns", "alpha"), 1))["current_runs"])


def test_whatever_is_killed_the_run_ends_well(roles: Roles, gate: Gate) -> None:
    run_id = roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/slow"])
    roles.wait_until(lambda: gate.reached, "the run is in its model")
    for what, victim in VICTIMS.items():
        killed = victim(roles)
        killed.kill()
        killed.wait(30)

        def is_known() -> bool:
            try:
                return here(roles) == [run_id]
            except Exception:
                return False

        roles.wait_until(is_known, f"after {what} was killed, the run is known")
        roles.wait_until(lambda: roles.status()["locations"]["alpha"]["loaded"], "the location is loaded")
    gate.open()

    assert roles.webserver.finish(run_id)["status"] == "SUCCESS"
    roles.wait_until(lambda: here(roles) == [], "nothing of it is left")


def test_a_run_whose_process_is_killed_is_marked_with_how_it_ended(roles: Roles, gate: Gate) -> None:
    (gate.folder / "open").unlink()
    gate.forget()
    run_id = roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/slow"])
    roles.wait_until(lambda: gate.reached, "the run is in its model")
    started = roles.code_processes("run:alpha")
    for process in started:
        process.kill()

    roles.wait_until(lambda: roles.webserver.run(run_id)["status"] == "FAILURE", "it is marked")
    told = " ".join(event["message"] for event in roles.webserver.events(run_id) if event.get("message"))
    assert "was terminated by signal 9 (SIGKILL)" in told
    roles.wait_until(lambda: not any(process.is_running() for process in started), "nothing of it is left")


def test_a_run_that_is_asked_for_while_the_code_host_is_started_again_is_made(roles: Roles, gate: Gate) -> None:
    gate.forget()
    gate.open()
    [front] = roles.code_processes("front")
    front.kill()
    front.wait(30)
    while_the_front_is_away = roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/slow"])
    assert roles.webserver.finish(while_the_front_is_away)["status"] == "SUCCESS"

    roles.stop("code")
    roles.start("code")
    while_all_of_it_is_away = roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/slow"])
    assert roles.webserver.finish(while_all_of_it_is_away)["status"] == "SUCCESS"
