"""The schema of the instance's database, made and brought up to date: `apollo migrate`, the one thing that changes it.

Under a lock, before a new version is started. A database that is ahead of this version is let be: after a rollback the
older image runs on it, as Dagster's migrations only add. Looking at it, and waiting for it, is `schema.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from dagster import DagsterInstance
from dagster_postgres import DagsterPostgresStorage
from sqlalchemy import exc

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.host.compute_log_table import LOG_TABLES
from dagster_apollo.host.dagster_internals import PostgresRunStorage
from dagster_apollo.host.instance import database_problems
from dagster_apollo.host.schema import schema_of
from dagster_apollo.runs.place import database_url

# Any number that nothing else in this database takes: pg_advisory_lock knows no names.
_LOCK = 0x61706F6C6C6F
_LOCK_TIMEOUT_SECONDS = 600


def migrate(url: str, home: Path, say: Callable[[str], None]) -> bool:
    """Make the schema, or bring it up to date; one process at a time, also when several are asked at once.

    Args:
        url: the database.
        home: a folder with the `dagster.yaml` of the instance.
        say: prints one line of progress.

    Returns:
        Whether anything had to be done.

    Raises:
        HostError: the database cannot be used, or another process holds the lock for too long.
    """
    if problems := database_problems(url):
        raise HostError(problems, "Dagster's records cannot be kept")
    with _locked(url):
        before = schema_of(url)
        if before.serves:
            PostgresRunStorage(url, should_autocreate_tables=False).get_run_storage_id()  # it makes one where none is
            ahead = ", ahead of this version: it is let be" if before.is_newer else ""
            say(f"the database's schema is current ({before.revision}{ahead})")
            return False
        if before.missing:
            say(f"making the tables: {', '.join(before.missing)}")
            DagsterPostgresStorage(url, should_autocreate_tables=True)
            # The instance's id, before our own table, which is the last thing that those who wait look for: roles that
            # found none would each make another.
            PostgresRunStorage(url, should_autocreate_tables=False).get_run_storage_id()
            engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
            LOG_TABLES.create_all(engine)
        after = schema_of(url)
        if not after.serves:
            say(f"bringing the schema from {after.revision} to {after.wanted}")
            with DagsterInstance.from_config(str(home)) as instance:
                instance.upgrade(say)
            after = schema_of(url)
        say(f"the database's schema is at {after.revision}")
        return True


def make_storage(environ: Mapping[str, str], home: Path, say: Callable[[str], None]) -> None:
    """Where no deploy has made it, on a laptop: the storage, before any other process starts.

    Code servers that start together on an empty SQLite folder leave its `alembic_version` in pieces.

    Raises:
        HostError: DAGSTER_PG_URI names a database that cannot be used.
    """
    if url := database_url(environ):
        migrate(url, home, say)
        return
    with DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs(limit=1)
        instance.event_log_storage.get_maximum_record_id()
        if instance.schedule_storage:
            instance.schedule_storage.all_instigator_state()


@contextmanager
def _locked(url: str) -> Iterator[None]:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        try:
            connection.execute(sqlalchemy.text(f"set lock_timeout = '{_LOCK_TIMEOUT_SECONDS}s'"))
            connection.execute(sqlalchemy.text("select pg_advisory_lock(:key)"), {"key": _LOCK})
        except exc.OperationalError:
            what = f"another `apollo migrate` has held its lock for {_LOCK_TIMEOUT_SECONDS} s"
            raise HostError([Problem("DAGSTER_PG_URI", what, "See whether it hangs, and end it.")]) from None
        try:
            yield
        finally:
            connection.rollback()
            connection.execute(sqlalchemy.text("select pg_advisory_unlock(:key)"), {"key": _LOCK})
