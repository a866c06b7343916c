"""A run whose process is gone leaves no statement behind in the warehouse: its dbt has the time to cancel it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forked_runs import RUN, of_runs
from tests.support.postgres import Postgres
from tests.support.roles import Roles, roles_of
from tests.support.tenants import write_tenant

pytestmark = pytest.mark.slow

# Of a client that is gone a server hears when it has something to tell it: far too late, here.
LONG = "{{ config(materialized='table') }} select 1 as id from pg_sleep(300)"


@pytest.fixture(scope="module")
def warehouse(postgres: Postgres) -> Postgres:
    return postgres.new_database()


@pytest.fixture(scope="module")
def roles(module_folder: Path, postgres: Postgres, warehouse: Postgres) -> Iterator[Roles]:
    with roles_of(module_folder, postgres.new_database()) as made:
        write_tenant(made.tenants_dir, "alpha", {"long.sql": LONG}, "warehouse: postgres\nschedule: null\n")
        yield made.start_all(ALPHA__POSTGRES_URL=warehouse.url())


def at_work(warehouse: Postgres) -> set[int]:
    """The server's processes that execute the model."""
    told = "select pid from pg_stat_activity where state = 'active' and query like '%pg_sleep(300)%'"
    return {pid for (pid,) in warehouse.rows(f"{told} and pid <> pg_backend_pid()")}


def test_the_statement_of_a_run_that_is_killed_is_cancelled(roles: Roles, warehouse: Postgres) -> None:
    run_id = roles.webserver.launch("alpha", "alpha__build")
    roles.wait_until(lambda: at_work(warehouse), "the model is being built")
    [first] = at_work(warehouse)
    [process] = of_runs(roles.code_processes("run:alpha"), RUN)
    process.kill()

    roles.wait_until(lambda: first not in at_work(warehouse), "the statement is cancelled", 20)
    roles.wait_until(lambda: roles.webserver.run(run_id)["status"] == "FAILURE", "the run is marked")
    roles.wait_until(lambda: at_work(warehouse), "the model is being built by the next attempt")
