"""What is left when one of the processes of a forked run is killed in the middle: nothing, and who reads it is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import dagster as dg
import psutil
import pytest

from tests.integration.warm.conftest import Shop, StartShop
from tests.support.tenants import Gate
from tests.support.webserver import wait_until

OWN = """\
import time
from pathlib import Path

import dagster as dg


@dg.asset(key=["shop", "waits"])
def waits() -> None:
    while not Path({open!r}).exists():
        time.sleep(0.05)


job = dg.define_asset_job("shop__wait", dg.AssetSelection.assets(waits))
defs = dg.Definitions(assets=[waits], jobs=[job])
"""


@pytest.fixture
def gate(module_folder: Path) -> Gate:
    """The gate, closed."""
    gate = Gate(module_folder / "gate")
    gate.forget()
    (gate.folder / "open").unlink(missing_ok=True)
    return gate


@pytest.fixture(scope="module")
def shop(start_shop: StartShop, module_folder: Path) -> Shop:
    """A tenant whose second model waits until it is let through."""
    gate = Gate(module_folder / "gate")
    own = OWN.format(open=str(gate.folder / "open"))
    models = {"models/first.sql": "select 1 as id", "models/slow.py": gate.model(after="first")}
    return start_shop({**models, "definitions.py": own})


def in_the_model(shop: Shop, gate: Gate) -> tuple[dg.DagsterRun, psutil.Process, psutil.Process, psutil.Process]:
    """A run that is in the slow model: its record, its process, the one that forks dbt, and dbt."""
    run = shop.created()
    process = psutil.Process(shop.warm.start(shop.instance, run))
    wait_until(lambda: gate.reached, "dbt is in the model")
    warm = psutil.Process(shop.warm.process.pid).cmdline()
    (parent,) = [child for child in process.children() if child.cmdline() == warm]  # beside Dagster's `tail`
    (dbt,) = parent.children()
    assert dbt.cmdline() == warm  # a fork, no program
    return run, process, parent, dbt


def again(shop: Shop, gate: Gate) -> None:
    """The tenant is as it was: its next run builds all."""
    inside = gate.folder / "inside"
    if inside.exists():
        inside.rmdir()  # of a model that was killed
    gate.open()
    shop.built()
    assert shop.left() == []
    assert shop.warm.state()["children"] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda number: number.name)
def test_dbt_is_killed_and_the_run_fails_and_says_so(shop: Shop, gate: Gate, number: signal.Signals) -> None:
    run, _, _, dbt = in_the_model(shop, gate)
    dbt.send_signal(number)

    assert shop.warm.ended(run) == 0
    assert shop.status(run) == dg.DagsterRunStatus.FAILURE
    assert f"dbt: it ended with exit code {-number}" in shop.told(run)
    again(shop, gate)


def test_dbt_is_told_to_end_by_somebody_else_and_that_is_no_fault_of_the_run(shop: Shop, gate: Gate) -> None:
    run, _, _, dbt = in_the_model(shop, gate)
    dbt.terminate()
    gate.open()  # it cancels its queries, and waits for its threads

    assert shop.warm.ended(run) == 0
    found = shop.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status == dg.DagsterRunStatus.FAILURE
    assert found.tags["apollo/interrupted"] == "killed"
    again(shop, gate)


def test_what_forks_dbt_is_killed_and_dbt_ends_with_it(shop: Shop, gate: Gate) -> None:
    run, _, parent, dbt = in_the_model(shop, gate)
    parent.kill()

    assert shop.warm.ended(run) == 0
    assert shop.status(run) == dg.DagsterRunStatus.FAILURE
    psutil.wait_procs([dbt], timeout=60)
    assert not _lives(dbt)
    again(shop, gate)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda number: number.name)
def test_a_run_is_killed_and_its_dbt_and_files_are_gone_with_it(shop: Shop, gate: Gate, number: signal.Signals) -> None:
    run, process, parent, dbt = in_the_model(shop, gate)
    process.send_signal(number)

    assert shop.warm.ended(run) == -number
    assert shop.status(run) == dg.DagsterRunStatus.STARTED  # the first process has it marked
    assert not _lives(parent)
    assert not _lives(dbt)
    assert shop.left() == []
    again(shop, gate)


@pytest.mark.parametrize("asked", [True, False], ids=["by_somebody", "by_the_platform"])
def test_a_run_that_is_interrupted_ends_its_dbt_and_is_recorded(shop: Shop, gate: Gate, *, asked: bool) -> None:
    run, process, parent, dbt = in_the_model(shop, gate)
    if asked:
        shop.instance.report_run_canceling(run)
    process.send_signal(signal.SIGINT if asked else signal.SIGTERM)
    gate.open()  # after an interrupt dbt waits for its threads

    assert shop.warm.ended(run) == 0
    assert shop.status(run) == (dg.DagsterRunStatus.CANCELED if asked else dg.DagsterRunStatus.FAILURE)
    assert not _lives(parent)
    assert not _lives(dbt)
    again(shop, gate)


def test_several_runs_at_once_are_told_apart(shop: Shop, gate: Gate) -> None:
    runs = [shop.created("shop__wait") for _ in range(3)]
    pids = [shop.warm.start(shop.instance, run) for run in runs]
    os.kill(pids[1], signal.SIGKILL)
    assert shop.warm.ended(runs[1]) == -signal.SIGKILL
    gate.open()

    assert [shop.warm.ended(runs[n]) for n in (0, 2)] == [0, 0]
    assert [shop.status(runs[n]) for n in (0, 2)] == [dg.DagsterRunStatus.SUCCESS] * 2


def test_the_warm_process_is_killed_and_its_run_ends_well(shop: Shop, gate: Gate) -> None:
    run, process, _, _ = in_the_model(shop, gate)
    shop.warm.process.kill()
    shop.warm.process.wait()
    gate.open()

    psutil.wait_procs([process], timeout=120)
    assert shop.status(run) == dg.DagsterRunStatus.SUCCESS, shop.told(run)
    assert shop.left() == []


def _lives(process: psutil.Process) -> bool:
    return bool(psutil.pid_exists(process.pid)) and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
