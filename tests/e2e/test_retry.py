"""A run that ended badly: what it says, and that taking it up again builds what is missing and nothing else."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support.forked_runs import DBT, RUN, of_runs
from tests.support.stack import COMMAND, Stack, StartStack, bare_environment
from tests.support.tenants import ON_DUCKDB, Gate, write_tenant
from tests.support.webserver import wait_until

RETRIED_AFTER_FAILURE = ON_DUCKDB + "retries: {count: 1, after_failure: true}\n"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(module_folder: Path, start_shared_stack: StartStack) -> Stack:
    """Tenants of which one waits in a model, and two have a model that fails while a file is not there."""
    tenants = module_folder / "tenants"
    gate = Gate(module_folder / "gate")
    write_tenant(tenants, "killed", {"first.sql": "select 1 as id", "slow.py": gate.model("first")})
    for name, config in (("by_hand", ON_DUCKDB), ("by_itself", RETRIED_AFTER_FAILURE)):
        table = "{{ config(materialized='table') }} "
        models = {
            "first.sql": table + "select 1 as id",
            "broken.sql": table + f"select * from read_csv('{module_folder / name}.csv') -- {{{{ ref('first') }}}}",
            "last.sql": table + "select * from {{ ref('broken') }}",
        }
        write_tenant(tenants, name, models, config)
    environ = bare_environment(module_folder, APOLLO_TENANTS_DIR=str(tenants))
    return start_shared_stack(environ, command=[*COMMAND, "--no-build"]).wait_until_ready()


@pytest.mark.parametrize("killed", ["the run and its dbt", "the run alone"])
def test_a_run_that_is_killed_is_taken_up_by_itself_and_only_the_rest_is_built(
    stack: Stack, module_folder: Path, killed: str
) -> None:
    gate = Gate(module_folder / "gate")
    gate.forget()
    run_id = stack.webserver.launch("killed", "killed__build")
    wait_until(lambda: gate.reached, "the run is in the model")
    wait_until(lambda: stack.webserver.built(run_id) == {"killed/first"}, "the first model is recorded")
    [run], [dbt] = of_runs(stack.processes(), RUN), of_runs(stack.processes(), DBT)
    for process in (run, dbt) if killed == "the run and its dbt" else (run,):
        process.kill()
    wait_until(lambda: not dbt.is_running() or dbt.status() == psutil.STATUS_ZOMBIE, "dbt ends with its run", 60)
    gate.forget()
    gate.open()
    assert stack.webserver.wait_for_run(run_id)["status"] == "FAILURE"
    wait_until(lambda: _children(stack, run_id), "the run is taken up")
    [retry] = _children(stack, run_id)
    stack.webserver.finish(retry)
    assert stack.webserver.built(retry) == {"killed/slow"}
    (gate.folder / "open").unlink()


def test_a_failed_model_is_named_with_its_error_and_reexecution_builds_just_what_is_missing(
    stack: Stack, module_folder: Path
) -> None:
    run_id = stack.webserver.launch("by_hand", "by_hand__build")
    assert stack.webserver.wait_for_run(run_id)["status"] == "FAILURE"
    told = stack.webserver.failure(run_id)
    assert "model broken" in told
    assert f"{module_folder}/by_hand.csv" in told
    assert "models/broken.sql" in told
    assert "last: skipped" in told
    assert stack.webserver.built(run_id) == {"by_hand/first"}

    (module_folder / "by_hand.csv").write_text("id\n1\n")
    again = stack.webserver.reexecute(run_id)
    stack.webserver.finish(again)
    assert stack.webserver.built(again) == {"by_hand/broken", "by_hand/last"}
    # A failed model is no accident of a machine: nothing took it up unasked.
    assert _children(stack, run_id) == [again]


def test_a_tenant_may_ask_that_failed_models_are_taken_up_too(stack: Stack, module_folder: Path) -> None:
    run_id = stack.webserver.launch("by_itself", "by_itself__build")
    assert stack.webserver.wait_for_run(run_id)["status"] == "FAILURE"
    (module_folder / "by_itself.csv").write_text("id\n1\n")
    wait_until(lambda: _children(stack, run_id), "the run is taken up")
    [retry] = _children(stack, run_id)
    run = stack.webserver.wait_for_run(retry)
    built = stack.webserver.built(retry)
    assert (run["status"], built) == ("SUCCESS", {"by_itself/broken", "by_itself/last"}), stack.webserver.failure(retry)


def _children(stack: Stack, run_id: str) -> list[str]:
    return [run["runId"] for run in stack.webserver.runs() if run["parentRunId"] == run_id]
