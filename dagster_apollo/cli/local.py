"""The commands of a laptop: serve, prepare, run dbt by hand, examine."""

from __future__ import annotations

import signal
import subprocess
from typing import Annotated

import typer

from dagster_apollo.cli import console
from dagster_apollo.cli.console import (
    JsonOption,
    TenantsArgument,
    environ_here,
    errors_of,
    finish,
    here,
    names_of,
    out,
    print_json,
    print_problem,
)
from dagster_apollo.dbt.workspace import open_workspace
from dagster_apollo.errors import Problem, ProblemsError

app = typer.Typer()


@app.command()
def dev(
    build: Annotated[bool, typer.Option(help="Build what was never built.")] = True,
) -> None:
    """Serve all tenants on this machine until Ctrl-C: webserver, daemon and code locations."""
    from dagster_apollo.host.stack import serve

    try:
        serve(environ_here(), console.repository_root(), lambda line: out.print(line, markup=False), build=build)
    except KeyboardInterrupt:
        out.print("stopped")


@app.command()
def prepare(
    names: TenantsArgument = None,
    force: Annotated[bool, typer.Option("--force", help="Also where nothing changed.")] = False,
) -> None:
    """Install packages and make manifests: `dbt deps && dbt parse`, where something changed."""
    from dagster_apollo.code_host.crossings import record_crossings
    from dagster_apollo.dbt.preparation import prepare as prepare_tenant

    environ, places = here()
    problems: list[Problem] = []
    chosen = names_of(places, environ, names)
    for name in chosen:
        try:
            workspace = open_workspace(environ, places, name)
            made = prepare_tenant(workspace, force=force)
        except ProblemsError as error:
            problems += error.problems
            continue
        out.print(f"{name}: {'prepared' if made else 'is current'} for {workspace.values.target}", markup=False)
    shared = record_crossings(environ, places)
    problems += [problem for name in chosen for problem in shared.get(name, [])]
    finish(problems)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def dbt(context: typer.Context, tenant: Annotated[str, typer.Argument(help="The tenant.")]) -> None:
    """Run dbt by hand with a tenant's profile, environment and target: `apollo dbt TENANT -- run --select …`."""
    environ, places = here()
    words = [word for word in context.args if word != "--"] if context.args[:1] == ["--"] else context.args
    parse_only = words[:1] in (["parse"], ["deps"], ["ls"], ["list"], ["clean"])
    workspace = open_workspace(environ, places, tenant, parse_only=parse_only)
    workspace.require_services()
    folder = places.state_dir / "tenants" / tenant / "by_hand"
    if workspace.containers and not parse_only:
        contained = workspace.dbt(words, folder, events=False)
        for line in contained.lines():
            out.print(line, markup=False)
        out.print(f"artifacts: {folder}", markup=False)
        raise typer.Exit(contained.returncode or 0)
    process = workspace.dbt_program(words, folder, events=False)
    child = subprocess.Popen(process.argument_list(), env=dict(process.environment), cwd=process.folder)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())  # a terminal would tell dbt itself; a program does not
    while True:
        try:
            code = child.wait()
            break
        except KeyboardInterrupt:  # the terminal has interrupted dbt too: it cancels its queries, we wait
            continue
    out.print(f"artifacts: {folder}", markup=False)
    raise typer.Exit(code)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what is wrong with this machine, environment, tenants, keys, connections and database, and what to do."""
    from dagster_apollo.doctor import examine

    environ, places = here()
    found = examine(environ, places)
    problems = [problem for entries in found.values() for problem in entries]
    ok = not errors_of(problems)
    if as_json:
        print_json(ok, problems, checks={heading: [p.as_dict() for p in entries] for heading, entries in found.items()})
    else:
        for heading, entries in found.items():
            out.print(f"[bold]{heading}[/]: {'[red]something is wrong[/]' if errors_of(entries) else '[green]well[/]'}")
            for problem in entries:
                print_problem(problem)
    raise typer.Exit(0 if ok else 1)
