"""Runs that are killed or drained, or lose their daemon: what is left of each, and only that, is built."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.attempts import attempts, builds, last_attempt
from tests.support.forked_runs import DBT, DBT_PARENT, RUN, of_runs
from tests.support.postgres import Postgres
from tests.support.roles import Roles, roles_of
from tests.support.tenants import Gate, write_tenant

pytestmark = pytest.mark.slow

TABLE = "{{ config(materialized='table') }} "
ONCE = {"alpha/first": 1, "alpha/slow": 1, "alpha/last": 1}


@pytest.fixture(scope="module")
def gate(module_folder: Path) -> Gate:
    return Gate(module_folder / "gate")


@pytest.fixture(scope="module")
def roles(module_folder: Path, postgres: Postgres, gate: Gate) -> Iterator[Roles]:
    with roles_of(module_folder, postgres) as made:
        models = {
            "first.sql": TABLE + "select 1 as id",
            "slow.py": gate.model("first"),
            "last.sql": TABLE + "select * from {{ ref('slow') }}",
        }
        write_tenant(made.tenants_dir, "alpha", models)
        yield made.start_all()


@pytest.fixture
def run_id(roles: Roles, gate: Gate) -> str:
    """A run that has built one model and is in the second."""
    (gate.folder / "open").unlink(missing_ok=True)
    gate.forget()
    launched = roles.webserver.launch("alpha", "alpha__build")
    roles.wait_until(lambda: gate.reached, "the run is in its model")
    roles.wait_until(lambda: roles.webserver.built(launched) == {"alpha/first"}, "the first model is recorded")
    return launched


def let_through(gate: Gate) -> None:
    """Let a build through after one that was killed inside."""
    gate.forget()
    gate.open()


def process_of(roles: Roles, part: int) -> psutil.Process:
    [process] = of_runs(roles.code_processes("run:alpha"), part)
    return process


@pytest.mark.parametrize("part", [RUN, DBT_PARENT, DBT], ids=["run", "what forks dbt", "dbt"])
def test_what_was_built_stays_built_whatever_is_killed(roles: Roles, gate: Gate, run_id: str, part: int) -> None:
    dbt = process_of(roles, DBT)
    process_of(roles, part).kill()
    roles.wait_until(lambda: not dbt.is_running() or dbt.status() == psutil.STATUS_ZOMBIE, "dbt is gone")
    let_through(gate)

    last = last_attempt(roles.webserver, run_id)

    assert last["runId"] != run_id
    assert roles.webserver.built(last["runId"]) == {"alpha/slow", "alpha/last"}
    assert builds(roles.webserver, run_id) == ONCE


def test_a_tenants_process_that_is_killed_leaves_the_run_to_its_end(roles: Roles, gate: Gate, run_id: str) -> None:
    roles.tenant_process("alpha").kill()
    roles.wait_until(lambda: "alpha: its process ended with -9" in roles.said("code"), "it is heard of")
    gate.open()

    assert last_attempt(roles.webserver, run_id)["runId"] == run_id
    assert builds(roles.webserver, run_id) == ONCE


def test_a_daemon_that_is_killed_leaves_the_run_to_its_end(roles: Roles, gate: Gate, run_id: str) -> None:
    assert roles.stop("daemon", signal.SIGKILL) == -signal.SIGKILL
    roles.start("daemon")
    roles.wait_until(lambda: roles.said("daemon").count("the daemon is at work") == 2, "the next one is at work")
    gate.open()

    assert last_attempt(roles.webserver, run_id)["runId"] == run_id
    assert builds(roles.webserver, run_id) == ONCE


def test_a_code_host_that_is_killed_loses_no_run(roles: Roles, gate: Gate, run_id: str) -> None:
    dbt = process_of(roles, DBT)
    below = psutil.Process(roles.running["code"].pid).children(recursive=True)
    assert roles.stop("code", signal.SIGKILL) == -signal.SIGKILL
    for process in below:  # as a container's end ends them
        if process.is_running():
            process.kill()
    roles.wait_until(lambda: not dbt.is_running(), "dbt is gone")
    let_through(gate)
    roles.start("code")

    last_attempt(roles.webserver, run_id)

    [first, *_] = attempts(roles.webserver, run_id)
    assert "The run was interrupted" in " ".join(
        event.get("message") or "" for event in roles.webserver.events(first["runId"])
    )
    assert builds(roles.webserver, run_id) == ONCE


def test_a_code_host_that_is_told_to_end_hands_its_runs_over(roles: Roles, gate: Gate, run_id: str) -> None:
    assert roles.stop("code") == 0
    [told] = [run for run in attempts(roles.webserver, run_id) if run["runId"] == run_id]
    assert told["tags"]["apollo/interrupted"] == "told to end"
    assert any("is told to end" in (event.get("message") or "") for event in roles.webserver.events(run_id))
    let_through(gate)
    roles.start("code")

    last = last_attempt(roles.webserver, run_id)

    assert roles.webserver.built(last["runId"]) == {"alpha/slow", "alpha/last"}
    assert builds(roles.webserver, run_id) == ONCE
