"""`make down`: remove what `make up` made, and ask before the data goes too.

Volumes are protected in the stack, so that nothing but this, or somebody who lifts that by hand, removes them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from dagster_apollo.errors import Problem
from dagster_apollo.fork import load_fork
from dagster_apollo.topology import topology
from infra.docker_command import Docker
from infra.docker_host import volume_name
from infra.engine import PROGRAM, Engine, EngineError
from infra.up import told


def down(
    data: Annotated[
        bool | None, typer.Option("--data/--keep-data", help="Remove the data too, or not, without asking.")
    ] = None,
    stack: Annotated[str, typer.Option(help="The stack's name.")] = "local",
) -> None:
    """Remove the fork from a Docker host; the data only when asked."""
    take_down(os.environ, PROGRAM.parent, stack, data)


def take_down(environ: Mapping[str, str], root: Path, stack: str = "local", data: bool | None = None) -> None:
    """Remove a fork from a Docker host.

    Args:
        environ: this process' variables.
        root: the fork's folder.
        stack: the stack's name.
        data: whether volumes and the stack itself go too; None: a person at a terminal is asked, else they stay.

    Raises:
        EngineError: when something could not be removed.
    """
    services = topology(load_fork(root))
    engine = Engine.find(environ, stack, root / "infra")
    docker = Docker.find(environ, engine.entry("dockerHost"))
    names = [volume_name(services.fork, name) for each in services.containers for name in each.volumes or {}]
    _run(engine, "destroy", "--yes", "--skip-preview", "--exclude-protected")
    there = docker.volumes(names)
    if data is None:
        data = bool(there) and sys.stdin.isatty() and typer.confirm(f"Remove the data too: {', '.join(there)}?")
    if not data:
        typer.echo(f"kept: {', '.join(there) or 'nothing'}. `make up` takes it over; `make down` asks again.")
        return
    # Nothing is destroyed by this: the stack forgets the volumes, which it retains, and then they are removed by name.
    _run(engine, "state", "unprotect", "--all", "--yes")
    _run(engine, "destroy", "--yes", "--skip-preview")
    docker.remove_volumes(names)
    _run(engine, "stack", "rm", "--yes")
    typer.echo("removed, with its data")


def _run(engine: Engine, *words: str) -> None:
    if engine.run(*words) != 0:
        what = f"`pulumi {' '.join(words[:2])}` did not do all of it"
        raise EngineError([Problem(f"stack {engine.stack}", what, "What it said stands above; `make down` goes on.")])


app = typer.Typer(add_completion=False)
app.command()(down)

if __name__ == "__main__":
    told(app)
