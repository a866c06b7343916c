"""Dagster's tables on Postgres as they are read where Dagster is not imported: importing it takes seconds of a start.

The schema's revisions, the instance's id, and the values that Dagster keeps for daemons by a key. A test holds what is
here to Dagster's own storages, so that an upgrade that moves a table is named.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

# How many runs the code host has memory for, as it tells those who launch runs.
CAPACITY_KEY = "apollo_runs_at_once"
# One table of each of Dagster's three storages, in the order in which they are made.
TABLES = ("runs", "event_logs", "job_ticks")
_REVISIONS = "_core/storage/alembic/versions"
_NAMED = re.compile(r'^(revision|down_revision)(?:\s*:[^=]*)?\s*=\s*(?:None|["\'](\w+)["\'])', re.MULTILINE)


@dataclass(frozen=True)
class Revisions:
    """The migrations that the installed Dagster has.

    Attributes:
        known: all of them.
        head: the last one.
    """

    known: frozenset[str]
    head: str


def revisions() -> Revisions:
    """Read them from the text of Dagster's migrations, which are one line."""
    found = importlib.util.find_spec("dagster")
    assert found is not None  # noqa: S101
    assert found.origin is not None  # noqa: S101
    files = (Path(found.origin).parent / _REVISIONS).glob("*.py")
    named = [dict(_NAMED.findall(file.read_text(encoding="utf-8"))) for file in files]
    known = frozenset(each["revision"] for each in named if each.get("revision"))
    [head] = known - {each.get("down_revision") for each in named}
    return Revisions(known, head)


def connect(url: str) -> sqlalchemy.Connection:
    """A connection of its own, that is closed for good.

    Args:
        url: of the instance's Postgres, with its driver.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the server does not answer within five seconds, or refuses.
    """
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args={"connect_timeout": 5})
    return engine.connect()


def revision(connection: sqlalchemy.Connection) -> str | None:
    """Of the schema that is there; None: none."""
    found = connection.execute(sqlalchemy.text("select version_num from alembic_version")).scalar_one_or_none()
    return None if found is None else str(found)


def instance_id(connection: sqlalchemy.Connection) -> str | None:
    """What tells this instance from others; None: `apollo migrate` has not made it."""
    found = connection.execute(sqlalchemy.text("select run_storage_id from instance_info")).scalar_one_or_none()
    return None if found is None else str(found)


def value(connection: sqlalchemy.Connection, key: str) -> str | None:
    """What is kept by a key; None: nothing, or the table is not there yet."""
    if connection.execute(sqlalchemy.text("select to_regclass('kvs')")).scalar_one() is None:
        return None
    found = connection.execute(sqlalchemy.text("select value from kvs where key = :key"), {"key": key})
    return found.scalar_one_or_none()


def keep(connection: sqlalchemy.Connection, key: str, kept: str) -> None:
    """Keep a value by a key."""
    upsert = "insert into kvs (key, value) values (:key, :kept) on conflict (key) do update set value = :kept"
    connection.execute(sqlalchemy.text(upsert), {"key": key, "kept": kept})
    connection.commit()
