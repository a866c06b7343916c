"""Postgres' own programs, run on one database: pg_dump, pg_restore, psql.

Inside the database's container where there is one, since those are of the server's version; else this machine's, by
URL. A password is in the programs' environment or in the container, never a word of a command. What is done with them
is `backup.py`'s.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, unquote, urlsplit

from dagster_apollo.errors import Problem, ProblemsError

# Where Debian keeps the programs of each version.
_DEBIAN = Path("/usr/lib/postgresql")
_PROGRAMS = ("pg_dump", "pg_restore", "psql")
# What of this process' environment the programs are given beside the connection.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PGSSLMODE", "PGSSLROOTCERT")
_IN_THE_CONTAINER = (
    'export PGPASSWORD="$POSTGRES_PASSWORD" PGUSER="$POSTGRES_USER" PGDATABASE="${POSTGRES_DB:-$POSTGRES_USER}"; '
    'exec "$0" "$@"'
)


class BackupError(ProblemsError):
    """A backup that could not be made, or must not be restored."""

    heading = "the database was left as it is"


@dataclass(frozen=True)
class PostgresPrograms:
    """The programs for one database.

    Attributes:
        database: how it is called in messages.
        command: the words that run a program with its own words.
        environ: what the programs are given.
    """

    database: str
    command: Callable[[str, Sequence[str]], list[str]]
    environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def in_container(cls, container: str, environ: Mapping[str, str]) -> PostgresPrograms:
        """Those of a container of the official image, whose variables say which database and with what password.

        Args:
            container: its name or id.
            environ: what the `docker` command is given.
        """

        def command(program: str, words: Sequence[str]) -> list[str]:
            return ["docker", "exec", "--interactive", container, "sh", "-c", _IN_THE_CONTAINER, program, *words]

        return cls(f"the database of container {container[:24]}", command, environ)

    @classmethod
    def by_url(cls, url: str, environ: Mapping[str, str]) -> PostgresPrograms:
        """Those of this machine that are not older than the server: an older pg_dump refuses.

        Args:
            url: `postgresql://user:password@host:port/name`.
            environ: this process' variables.

        Raises:
            BackupError: when there are none, or the server does not answer.
        """
        parts = urlsplit(url)
        given = {
            "PGHOST": parts.hostname or "",
            "PGPORT": str(parts.port or 5432),
            "PGUSER": unquote(parts.username or ""),
            "PGPASSWORD": unquote(parts.password or ""),
            "PGDATABASE": unquote(parts.path.removeprefix("/")),
            "PGCONNECT_TIMEOUT": "15",
        }
        given |= {name: environ[name] for name in _KEPT if name in environ}
        if mode := parse_qs(parts.query).get("sslmode"):
            given["PGSSLMODE"] = mode[-1]
        name = f"database {given['PGDATABASE']} on {given['PGHOST']}"

        def of(folder: Path) -> PostgresPrograms:
            return cls(name, lambda program, words: [str(folder / program), *words], given)

        folders = _installed(environ.get("PATH", os.defpath))
        where_it_is = "or run this where the database's container is."
        if not folders:
            remedy = f"Install PostgreSQL's client programs, {where_it_is}"
            raise BackupError([Problem("pg_dump", "is not on this machine", remedy)])
        server = int(of(folders[max(folders)]).query("show server_version_num")) // 10000
        fitting = [major for major in sorted(folders) if major >= server]
        if not fitting:
            what = f"is of version {max(folders)} here, the server of {server}: it would refuse"
            raise BackupError([Problem("pg_dump", what, f"Install the client programs of {server}, {where_it_is}")])
        return of(folders[fitting[0]])

    def query(self, sql: str) -> str:
        """The one row that a query returns, its columns joined by `|`.

        Raises:
            BackupError: when the server does not answer, or refuses.
        """
        return self.run("psql", ["--no-psqlrc", "--tuples-only", "--no-align", "--command", sql])

    def run(self, program: str, words: Sequence[str], output: IO[bytes] | None = None) -> str:
        """Run one to its end; what it printed, unless that went to a file.

        Raises:
            BackupError: when it fails.
        """
        ended = subprocess.run(
            self.command(program, words),
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(self.environ),
            check=False,
        )
        if ended.returncode:
            told = ended.stderr.decode(errors="replace").strip()
            raise BackupError([Problem(self.database, f"{program} said: {told}", "Does it run, with this password?")])
        return (ended.stdout or b"").decode().strip()


def docker(environ: Mapping[str, str], *words: str) -> str:
    """What a `docker` command prints.

    Raises:
        BackupError: when it is missing or fails.
    """
    if shutil.which("docker", path=environ.get("PATH")) is None:
        remedy = "Set DAGSTER_PG_URI to reach the database itself."
        raise BackupError([Problem("docker", "is not on the PATH", remedy)])
    ended = subprocess.run(["docker", *words], env=dict(environ), capture_output=True, text=True, check=False)
    if ended.returncode:
        what = f"`docker {words[0]}` said: {ended.stderr.strip()}"
        raise BackupError([Problem("docker", what, "Is the engine running, and may this user use it?")])
    return ended.stdout.strip()


def _installed(path: str) -> dict[int, Path]:
    """The folders with the programs, by major version."""
    folders = [*(Path(part) for part in path.split(os.pathsep) if part), *sorted(_DEBIAN.glob("*/bin"))]
    found: dict[int, Path] = {}
    for folder in folders:
        if all(os.access(folder / program, os.X_OK) for program in _PROGRAMS):
            told = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=False)
            if version := re.search(r"\(PostgreSQL\) (\d+)", told.stdout):
                found.setdefault(int(version[1]), folder)
    return found
