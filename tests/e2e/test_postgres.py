"""Dagster's records in Postgres: one variable, a bare `postgresql://` URL, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.postgres import Postgres
from tests.support.stack import BIN, StartStack, bare_environment, run_to_its_end
from tests.support.tenants import write_tenant
from tests.support.webserver import wait_until

EVERY_MINUTE = """\
warehouse: duckdb
schedule:
  cron: "* * * * *"
  running_in: [local]
"""

pytestmark = pytest.mark.slow


def test_a_schedule_runs_by_itself_and_all_records_are_in_postgres(
    folder: Path, start_stack: StartStack, postgres: Postgres
) -> None:
    write_tenant(folder / "tenants", "ticking", {"first.sql": "select 1 as id"}, EVERY_MINUTE)
    environ = bare_environment(folder, APOLLO_TENANTS_DIR=str(folder / "tenants"), DAGSTER_PG_URI=postgres.url())
    stack = start_stack(environ).wait_until_ready()

    def scheduled() -> list[str]:
        return [run["runId"] for run in stack.webserver.runs() if "dagster/schedule_name" in run["tags"]]

    wait_until(scheduled, "the schedule launches a run")
    run = stack.webserver.finish(scheduled()[-1])
    assert run["tags"]["dagster/schedule_name"] == "ticking__build_schedule"
    assert stack.webserver.built(run["runId"]) == {"ticking/first"}
    assert postgres.rows(f"select status, pipeline_name from runs where run_id = '{run['runId']}'") == [
        ("SUCCESS", "ticking__build")
    ]
    [(events,)] = postgres.rows(f"select count(*) from event_logs where run_id = '{run['runId']}'")
    assert events > 5
    below_home = [path for path in Path(environ["DAGSTER_HOME"]).rglob("*") if path.suffix in (".db", ".sqlite")]
    assert below_home == []
    assert postgres.password not in stack.said + stack.logs
    assert not any(postgres.password in " ".join(process.cmdline()) for process in stack.processes())


@pytest.mark.parametrize("command", [["doctor"], ["dev"]], ids=" ".join)
def test_a_wrong_password_is_refused_without_being_shown(folder: Path, postgres: Postgres, command: list[str]) -> None:
    write_tenant(folder / "tenants", "tiny", {"first.sql": "select 1 as id"})
    environ = bare_environment(folder, APOLLO_TENANTS_DIR=str(folder / "tenants"))
    code, said = run_to_its_end(
        [str(BIN / "apollo"), *command], {**environ, "DAGSTER_PG_URI": postgres.url(password="wr0ng-passw0rd")}
    )
    assert code == 1
    assert "DAGSTER_PG_URI" in said
    assert f"127.0.0.1:{postgres.port}" in said
    assert "wr0ng-passw0rd" not in said
    assert "Traceback" not in said
