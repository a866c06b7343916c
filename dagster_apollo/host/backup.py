"""Backup and restore of Dagster's database: runs, events, assets, schedules' ticks, and whatever else is in it.

A backup is one file in pg_dump's own format, so that it can be read without us. A restore is one transaction. Which
database is meant is the command line's to say, and how its programs are run is `postgres_programs.py`'s. Neither
Dagster nor a setting is imported here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dagster_apollo.errors import Problem
from dagster_apollo.host.postgres_programs import BackupError, PostgresPrograms, docker

# The tables without which a database is not Dagster's.
TABLES = ("alembic_version", "asset_keys", "event_logs", "runs")
_COUNTS = """
    select (select count(*) from runs),
           (select count(*) from runs where status in ('STARTING', 'STARTED', 'CANCELING')),
           (select count(*) from asset_keys where last_materialization is not null),
           (select count(*) from event_logs)
"""
_SESSIONS = """
    select count(*) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
_LAST_HEARTBEAT = """
    select coalesce(floor(extract(epoch from now() at time zone 'utc' - max(timestamp))), 1e9)::bigint
    from daemon_heartbeats
"""
# A daemon writes its heartbeat every 30 s.
_HEARTBEAT_SECONDS = 60
# How long a restore waits for somebody who still reads.
_LOCK_SECONDS = 20
_WITHOUT_OWNERS = ("--no-owner", "--no-privileges")
_WRONG_FILE = "Name a file that `apollo backup` wrote."


@dataclass(frozen=True)
class Contents:
    """What a database holds, as a person recognises it.

    Attributes:
        runs: runs of every status.
        in_progress: those of them that have begun and not ended.
        assets: assets that were ever materialized.
        events: events of all runs.
    """

    runs: int
    in_progress: int
    assets: int
    events: int

    def __str__(self) -> str:
        return f"{self.runs} runs ({self.in_progress} in progress), {self.assets} assets, {self.events} events"


def contents(programs: PostgresPrograms) -> Contents | None:
    """What is in a database; None: not Dagster's tables."""
    missing = " or ".join(f"to_regclass('public.{table}') is null" for table in TABLES)
    if programs.query(f"select {missing}") == "t":
        return None
    counts = programs.query(_COUNTS)
    return Contents(*(int(count) for count in counts.split("|")))


def back_up(programs: PostgresPrograms, file: Path, overwrite: bool = False) -> Contents:
    """Write everything into one file that only its owner reads, as it is at one moment, while runs go on.

    Args:
        programs: for the database.
        file: in pg_dump's custom format, compressed.
        overwrite: whether a file of that name may be replaced.

    Returns:
        What was in the database then.

    Raises:
        BackupError: with the reason; no file is left then, and one that was there is untouched.
    """
    if file.exists() and not overwrite:
        raise BackupError([Problem(str(file), "is there already", "Name another file, or say --yes.")])
    found = contents(programs)
    if found is None:
        raise BackupError([Problem(programs.database, "has no tables of Dagster's", "Is it the right database?")])
    number, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # 0600
    partial = Path(name)
    try:
        with os.fdopen(number, "wb") as opened:
            programs.run("pg_dump", ["--format=custom", "--schema=public", *_WITHOUT_OWNERS], opened)
            opened.flush()
            os.fsync(opened.fileno())
        _check(programs, partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return found


def examine(programs: PostgresPrograms, file: Path, overwrite: bool = False) -> Contents | None:
    """What would be lost by a restore; a look that changes nothing, before anything is stopped for it.

    Raises:
        BackupError: when the file is no backup, or runs would be lost and nobody said that they may.
    """
    _check(programs, file)
    found = contents(programs)
    if found and found.runs and not overwrite:
        remedy = "Make a backup of it, let its runs end, then say --yes."
        raise BackupError([Problem(programs.database, f"holds {found}, which would be lost", remedy)])
    return found


def restore(programs: PostgresPrograms, file: Path, overwrite: bool = False, daemon_stopped: bool = False) -> Contents:
    """Put back what a file holds, in one transaction: all of it, or nothing is changed.

    Args:
        programs: for the database.
        file: what `back_up` wrote.
        overwrite: whether runs that are there may be lost.
        daemon_stopped: whether the caller has stopped the daemon: its last heartbeat says nothing then.

    Returns:
        What is in the database now.

    Raises:
        BackupError: with the reason, such as somebody who still uses the database; it is as it was.
    """
    if examine(programs, file, overwrite) and (busy := _users(programs, daemon_stopped)):
        raise BackupError(busy)
    _replace(programs, file)
    found = contents(programs)
    if found is None:
        raise BackupError([Problem(str(file), "held tables without Dagster's", _WRONG_FILE)])
    return found


@contextmanager
def stopped(containers: Sequence[str], environ: Mapping[str, str]) -> Iterator[None]:
    """Containers that do not run meanwhile, and run again afterwards, whatever happened.

    Args:
        containers: full ids; those that do not run are left alone.
        environ: what the `docker` command is given.
    """
    there = set(docker(environ, "ps", "--quiet", "--no-trunc").split()) if containers else set()
    running = [container for container in containers if container in there]
    try:
        if running:
            docker(environ, "stop", *running)
        yield
    finally:
        if running:
            docker(environ, "start", *running)


def containers_with(labels: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """The full ids of the containers with all of these labels, whether they run or not."""
    filters = [word for name, text in labels.items() for word in ("--filter", f"label={name}={text}")]
    return docker(environ, "ps", "--all", "--quiet", "--no-trunc", *filters).split()


def fork_of(container: str, environ: Mapping[str, str]) -> str:
    """The fork that a container says it is of; empty: it does not say."""
    return docker(environ, "inspect", "--format", '{{index .Config.Labels "dagster-apollo.fork"}}', container)


def _users(programs: PostgresPrograms, daemon_stopped: bool) -> list[Problem]:
    """Who uses the database: sessions, and a daemon, which has none open most of the time."""
    remedy = "Stop webserver, daemon and code host first."
    sessions = programs.query(_SESSIONS)
    found = [] if sessions == "0" else [Problem(programs.database, f"has {sessions} other sessions open", remedy)]
    if not daemon_stopped and programs.query("select to_regclass('public.daemon_heartbeats') is null") == "f":
        age = int(programs.query(_LAST_HEARTBEAT))
        if age < _HEARTBEAT_SECONDS:
            wait = f"{remedy} If it is, wait until {_HEARTBEAT_SECONDS} s have passed."
            found.append(Problem(programs.database, f"has a daemon that was alive {age} s ago", wait))
    return found


def _replace(programs: PostgresPrograms, file: Path) -> None:
    """Drop what is there and put back the archive, in a transaction that is committed only when both went well."""
    begin = (
        f"begin; set local lock_timeout = '{_LOCK_SECONDS}s'; set local client_min_messages = warning;\n"
        "drop schema if exists public cascade;\n"  # the archive makes it
    )
    writing = programs.command("psql", ["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null"])
    reading = programs.command("pg_restore", ["--file=-", *_WITHOUT_OWNERS])
    environ = dict(programs.environ)
    with file.open("rb") as archive, tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as told_reading:
        psql = subprocess.Popen(writing, stdin=subprocess.PIPE, stdout=told, stderr=told, env=environ)
        pg_restore = subprocess.Popen(
            reading, stdin=archive, stdout=subprocess.PIPE, stderr=told_reading, env=environ
        )  # fmt: skip
        try:
            _feed(begin, pg_restore, psql)
        finally:
            for process in (pg_restore, psql):
                process.kill() if process.poll() is None else None
                process.wait()
        if psql.returncode or pg_restore.returncode:
            words = "; ".join(text for text in (_text(told_reading), _text(told)) if text)
            raise BackupError([Problem(str(file), f"could not be restored: {words}", "Nothing was changed.")])


def _feed(begin: str, pg_restore: subprocess.Popen[bytes], psql: subprocess.Popen[bytes]) -> None:
    """Have psql do what pg_restore writes; without the last line it rolls back at the end of its input."""
    if psql.stdin is None or pg_restore.stdout is None:
        raise ValueError("both are to be started with pipes")
    try:
        with psql.stdin as commands:
            commands.write(begin.encode())
            shutil.copyfileobj(pg_restore.stdout, commands)
            if pg_restore.wait() == 0:
                commands.write(b"\ncommit;\n")
    except BrokenPipeError:  # psql has ended at an error, and says which
        pg_restore.kill()
    pg_restore.stdout.close()
    psql.wait()


def _check(programs: PostgresPrograms, file: Path) -> None:
    """Refuse what is no whole archive of Dagster's tables.

    Raises:
        BackupError: with the reason.
    """
    if not file.is_file():
        raise BackupError([Problem(str(file), "is not a file", _WRONG_FILE)])
    with file.open("rb") as archive:
        listed = subprocess.run(
            programs.command("pg_restore", ["--list"]),
            stdin=archive,
            capture_output=True,
            env=dict(programs.environ),
            check=False,
        )
    if listed.returncode:
        told = listed.stderr.decode(errors="replace").strip()
        raise BackupError([Problem(str(file), f"is no archive that this Postgres reads: {told}", _WRONG_FILE)])
    # `4001; 0 16399 TABLE DATA public runs dagster`
    held = {tuple(line.split()[3:7]) for line in listed.stdout.decode(errors="replace").splitlines()}
    missing = [table for table in TABLES if ("TABLE", "DATA", "public", table) not in held]
    if missing:
        raise BackupError([Problem(str(file), f"holds no data of {', '.join(missing)}", _WRONG_FILE)])


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()
