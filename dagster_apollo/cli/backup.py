"""`apollo backup` and `apollo restore`: Dagster's database of a Docker host, or any by DAGSTER_PG_URI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from dagster_apollo import settings
from dagster_apollo.cli.console import environ_here, out
from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.errors import Problem
from dagster_apollo.fork import load_fork
from dagster_apollo.host.backup import back_up, containers_with, examine, fork_of, restore, stopped
from dagster_apollo.host.postgres_programs import BackupError, PostgresPrograms
from dagster_apollo.topology import labels, topology

app = typer.Typer(no_args_is_help=True)
ContainerOption = Annotated[
    str | None, typer.Option(help="The database's container; unset: DAGSTER_PG_URI, else that of this fork.")
]


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    container: ContainerOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Replace a file of that name.")] = False,
) -> None:
    """Write Dagster's database, runs and assets and all, into one file. Runs may go on meanwhile."""
    programs, _ = _database(container)
    found = back_up(programs, file, overwrite=yes)
    out.print(f"wrote {file}, {file.stat().st_size / 1024:.0f} KiB: {found}", markup=False)


@app.command("restore")
def restore_command(
    file: Annotated[Path, typer.Argument(help="What `apollo backup` wrote.")],
    container: ContainerOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Lose the runs that are in the database.")] = False,
) -> None:
    """Put Dagster's database back as it was, all or nothing; this fork's containers are stopped meanwhile."""
    programs, writers = _database(container)
    examine(programs, file, overwrite=yes)  # before anything is stopped for it
    with stopped(writers, environ_here()):
        found = restore(programs, file, overwrite=yes, daemon_stopped=bool(writers))
    out.print(f"restored {file}: {found}", markup=False)
    if found.in_progress:
        out.print("What was in progress then is found dead by the daemon, which retries or fails it.", markup=False)


def _database(container: str | None) -> tuple[PostgresPrograms, list[str]]:
    """The database that is meant, and the containers that write to it."""
    environ = environ_here()
    url = settings.read(environ).text("DAGSTER_PG_URI")
    if container is None and url:
        return PostgresPrograms.by_url(url, environ), []
    return _in_a_container(container, environ)


def _in_a_container(container: str | None, environ: Mapping[str, str]) -> tuple[PostgresPrograms, list[str]]:
    """The database of this fork's container, or of the one that is named; its fork's own containers write to it."""
    fork = load_fork(repository_root())
    services = topology(fork)
    if container is None:
        found = containers_with(labels(fork, services.database), environ)
        if len(found) != 1:
            what = "is not on this Docker engine" if not found else f"is there {len(found)} times"
            remedy = "Name it with --container, or set DAGSTER_PG_URI. DOCKER_HOST says which engine is asked."
            raise BackupError([Problem(f"the database's container of fork {fork.name}", what, remedy)])
        container = found[0]
    else:
        fork = fork.model_copy(update={"name": fork_of(container, environ)})
    writers = [one for role in services.roles for one in containers_with(labels(fork, role), environ)]
    return PostgresPrograms.in_container(container, environ), writers
