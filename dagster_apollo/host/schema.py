"""The schema of the instance's database as a role finds it: what is there, what is wanted, and waiting until it is.

Without Dagster: who waits has imported little. Who makes the schema is `migration.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import exc

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.host.compute_log_table import LOG_TABLES
from dagster_apollo.host.instance import database_problems
from dagster_apollo.runs import dagster_tables

_POLL_SECONDS = 1.0
# Dagster's, made in this order, and ours.
_TABLES = (*dagster_tables.TABLES, *(table.name for table in LOG_TABLES.sorted_tables))


@dataclass(frozen=True)
class Schema:
    """What a database holds, against what this version needs.

    Attributes:
        missing: tables that are not there.
        revision: of the database; None: none.
        wanted: this version's.
        is_newer: whether a later version than this one has been at it.
    """

    missing: tuple[str, ...]
    revision: str | None
    wanted: str
    is_newer: bool

    @property
    def serves(self) -> bool:
        """Whether this version can work with it."""
        return not self.missing and (self.revision == self.wanted or self.is_newer)

    def __str__(self) -> str:
        if self.missing:
            return f"the tables {', '.join(self.missing)} are missing"
        return f"its schema is at {self.revision}, this version's is {self.wanted}"


def schema_of(url: str) -> Schema:
    """Look at a database.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it cannot be asked.
    """
    wanted = dagster_tables.revisions()
    with dagster_tables.connect(url) as connection:
        there = set(sqlalchemy.inspect(connection).get_table_names())
        if missing := tuple(name for name in _TABLES if name not in there):
            return Schema(missing, None, wanted.head, False)
        found = dagster_tables.revision(connection)
    return Schema((), found, wanted.head, found is not None and found not in wanted.known)


def wait_for_schema(url: str, timeout_seconds: float, say: Callable[[str], None]) -> None:
    """Wait until the database answers with a schema that this version can work with.

    Raises:
        HostError: it did not within the time; says what it waited for.
    """
    end = time.monotonic() + timeout_seconds
    told = ""
    while True:
        problem = _not_yet(url)
        if problem is None:
            return
        if time.monotonic() >= end:
            raise HostError([problem], f"waited {timeout_seconds:g} s for the database")
        if problem.what != told:
            say(f"waiting for the database: {problem}")
            told = problem.what
        time.sleep(_POLL_SECONDS)


def _not_yet(url: str) -> Problem | None:
    if problems := database_problems(url):
        return problems[0]
    try:
        schema = schema_of(url)
    except exc.SQLAlchemyError as error:
        return Problem("DAGSTER_PG_URI", f"cannot be asked: {type(error).__name__}", "See the database's log.")
    if schema.serves:
        return None
    return Problem("DAGSTER_PG_URI", str(schema), "Run `apollo migrate`: a deploy does it before it starts anything.")
