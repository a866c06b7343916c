"""What we read of Dagster's tables without importing Dagster is what Dagster itself says of them."""

from __future__ import annotations

import subprocess
import sys

import dagster
import sqlalchemy
from alembic.script import ScriptDirectory
from dagster_postgres import run_storage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.utils import pg_alembic_config

from dagster_apollo.runs import dagster_tables
from dagster_apollo.settings import read
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.stack import REPOSITORY


def moved(what: str) -> str:
    return f"dagster {dagster.__version__}: {what} differs; mend dagster_apollo/runs/dagster_tables.py"


def test_the_revisions_are_those_that_alembic_finds() -> None:
    scripts = ScriptDirectory.from_config(pg_alembic_config(str(run_storage.__file__)))

    found = dagster_tables.revisions()

    assert found.head == scripts.get_current_head(), moved("the last migration")
    assert found.known == {script.revision for script in scripts.walk_revisions()}, moved("the set of migrations")


def test_what_dagster_has_stored_is_read_and_what_is_kept_dagster_reads(postgres: Postgres) -> None:
    url = str(read({"DAGSTER_PG_URI": postgres.url()}).text("DAGSTER_PG_URI"))
    with dagster_tables.connect(url) as connection:
        assert dagster_tables.value(connection, "unknown") is None  # also where there is no table yet
    storage = PostgresRunStorage(url, should_autocreate_tables=True)
    identity = storage.get_run_storage_id()
    storage.set_cursor_values({"of_dagster": "1"})

    with dagster_tables.connect(url) as connection:
        dagster_tables.keep(connection, "ours", "2")
        dagster_tables.keep(connection, "ours", "3")
        there = set(sqlalchemy.inspect(connection).get_table_names())
        assert dagster_tables.TABLES[0] in there
        assert dagster_tables.instance_id(connection) == identity, moved("the instance's id")
        assert dagster_tables.revision(connection) == storage.alembic_version()[0], moved("the schema's revision")
        assert dagster_tables.value(connection, "of_dagster") == "1", moved("a value that is kept")
        assert dagster_tables.value(connection, "unknown") is None
    assert storage.get_cursor_values({"ours"}) == {"ours": "3"}, moved("a value that is kept")


def test_who_waits_for_the_database_does_not_import_dagster() -> None:
    program = (
        "import sys; from dagster_apollo.code_host import waiting; code = waiting.main(1); "
        "print(); print(code, {'dagster', 'grpc', 'alembic'} & set(sys.modules))"
    )
    environ = {"DAGSTER_PG_URI": f"postgresql://nobody@127.0.0.1:{free_port()}/none", "APOLLO_WAIT_SECONDS": "0"}

    told = subprocess.run(
        [sys.executable, "-c", program], env=environ, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert "waited 0 s for the database" in told.stdout
    assert told.stdout.endswith("\n1 set()\n")
