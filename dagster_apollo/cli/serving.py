"""The roles of the one image, what a deploy runs before them, and whether one is alive.

In a container nobody types these: the platform does. On a laptop `apollo dev` starts what it needs of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from dagster_apollo.cli.console import environ_here, here, out, repository_root
from dagster_apollo.host.collection import importing

app = typer.Typer()

_LocalOption = Annotated[bool, typer.Option("--local", hidden=True, help="As `apollo dev` starts it, on loopback.")]


@app.command()
def webserver(
    migrate: Annotated[bool, typer.Option("--migrate", help="Do first what `apollo migrate` does.")] = False,
    local: _LocalOption = False,
) -> None:
    """Serve Dagster's pages behind the login, with `/livez`, `/status` and `/metrics`."""
    with importing():
        from dagster_apollo.host.webserver import serve

    serve(environ_here(), repository_root(), local=local, migrate=migrate)


@app.command()
def daemon() -> None:
    """Launch what schedules, sensors and the queue want launched, and watch over runs."""
    with importing():
        from dagster_apollo.host.daemon import serve

    serve(environ_here(), repository_root())


@app.command()
def code(local: _LocalOption = False) -> None:
    """Serve every tenant, each from a process of its own that knows that tenant's secrets alone."""
    from dagster_apollo.code_host.code_role import serve

    serve(environ_here(), repository_root(), own_state=not local)


@app.command()
def run(
    location: Annotated[str, typer.Argument(help="The code location that the run is of.")],
    run_id: Annotated[str, typer.Argument(help="The run.")],
) -> None:
    """Execute one run that was launched, in this container: what `run_on` starts elsewhere."""
    from dagster_apollo.elsewhere.one_run import execute

    raise typer.Exit(execute(environ_here(), repository_root(), location, run_id))


@app.command()
def migrate() -> None:
    """Make the schema of Dagster's database, or bring it up to date: before a new version is started."""
    from dagster_apollo.host.instance import lay_home
    from dagster_apollo.host.migration import make_storage
    from dagster_apollo.host.role import become_unprivileged, role_settings, say

    environ, root = environ_here(), repository_root()
    values = role_settings(environ)
    if values["APOLLO_CONTAINER"]:
        become_unprivileged()
    make_storage(environ, lay_home(environ, root), say)


@app.command()
def bake(folder: Annotated[Path, typer.Argument(help="Where the image keeps them.")]) -> None:
    """Make every tenant's manifest and snapshot for an image, with no credential; fail when one cannot be parsed."""
    from dagster_apollo.code_host.baking import bake_image

    environ, places = here()
    made, served = bake_image(environ, places, folder)
    out.print(f"snapshots made: {', '.join(served) or 'none'}", markup=False)
    out.print(f"manifests made: {', '.join(made) or 'none, all were current'}", markup=False)


@app.command()
def alive(role: Annotated[str, typer.Argument(help="webserver, daemon or code.")]) -> None:
    """Say by the exit code whether a role lives in this container: 0, or 1 when a restart would help."""
    from dagster_apollo.host.alive import main

    os.environ.update({name: value for name, value in environ_here().items() if name not in os.environ})
    raise typer.Exit(main([role]))
