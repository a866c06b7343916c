"""A real Postgres for each side that is served, with a user a role: so its log says who opened how many connections.

With the server's own defaults, where tests do without: what a commit costs is part of what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from tests.support.postgres import Postgres, running_postgres

ROLES = ("webserver", "daemon", "code")
_PASSWORD = "benchmark"
_SETTINGS = ("fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=128MB", "log_connections=on")


@dataclass(frozen=True)
class Database:
    """A running server.

    Attributes:
        postgres: it, as its own user.
    """

    postgres: Postgres

    def url(self, role: str) -> str:
        """What a role is given as DAGSTER_PG_URI."""
        return replace(self.postgres, user=role, password=_PASSWORD).url()

    def opened(self) -> dict[str, int]:
        """How many connections each role has opened since the server was started."""
        return {role: self.postgres.log.count(f"connection authorized: user={role} ") for role in ROLES}

    def event_bytes(self, run_id: str) -> int:
        """The length of what is stored of a run's events."""
        [(length,)] = self.postgres.rows(f"select sum(length(event)) from event_logs where run_id = '{run_id}'")
        return int(length)

    def process(self) -> psutil.Process:
        """The server's first process."""
        [(folder,)] = self.postgres.rows("show data_directory")
        return psutil.Process(int((Path(folder) / "postmaster.pid").read_text().splitlines()[0]))


@contextmanager
def running_database() -> Iterator[Database]:
    """A server of its own, gone afterwards."""
    with running_postgres() as postgres:
        postgres.stop()
        postgres.start(*_SETTINGS)
        for role in ROLES:
            postgres.execute(f"create role {role} superuser login password '{_PASSWORD}'")
        yield Database(postgres)
