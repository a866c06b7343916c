"""`apollo tenant`: the folders under `tenants/`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from dagster_apollo.cli.console import (
    JsonOption,
    TenantsArgument,
    errors_of,
    here,
    names_of,
    out,
    print_json,
    print_problem,
)
from dagster_apollo.dbt.workspace import read_tenant
from dagster_apollo.deploy.platforms import platform_problems
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.fork import load_fork

app = typer.Typer(no_args_is_help=True, help="The folders under tenants/.")


def _warehouse(declared: str, target: str) -> str:
    return "duckdb" if target == "local" and declared != "dbt_cloud" else declared


@app.command("list")
def tenant_list(as_json: JsonOption = False) -> None:
    """List the tenants."""
    environ, places = here()
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for name in names_of(places, environ, None):
        try:
            tenant, values = read_tenant(environ, places, name)
        except ProblemsError as error:
            problems += error.problems
            rows.append(
                {"name": name, "ok": False, "target": None, "warehouse": None, "schedule": None, "project": None}
            )
            continue
        schedule = tenant.config.schedule
        rows.append(
            {
                "name": name,
                "ok": True,
                "target": values.target,
                "warehouse": _warehouse(tenant.config.warehouse, values.target),
                "schedule": schedule.cron if schedule and values.target in schedule.running_in else None,
                "project": tenant.project.get("name", "in dbt Cloud"),
            }
        )
    if as_json:
        print_json(not problems, problems, tenants=rows)
    else:
        table = Table("tenant", "target", "warehouse", "schedule", "dbt project", box=None)
        for row in rows:
            state = row["schedule"] or "stopped"
            cells = (row["target"], row["warehouse"], state, row["project"]) if row["ok"] else ("cannot be served",)
            table.add_row(*(escape(str(cell)) for cell in (row["name"], *cells)))
        out.print(table)
        for problem in problems:
            print_problem(problem)
    raise typer.Exit(1 if problems else 0)


@app.command("check")
def tenant_check(
    names: TenantsArgument = None,
    platform: Annotated[
        Literal["render", "docker"] | None, typer.Option(help="Also what this platform cannot give them.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find everything that keeps tenants from being served: folder, settings, key, packages, dbt, Dagster, Python."""
    from dagster_apollo.host.inspection import inspect_tenants

    environ, places = here()
    found = inspect_tenants(environ, places, names_of(places, environ, names))
    if platform:
        fork = load_fork(places.root)
        for name, entries in found.items():
            with contextlib.suppress(ProblemsError):  # it cannot be read: that stands among the others
                entries += platform_problems(*read_tenant(environ, places, name), fork, platform)
    problems = [problem for entries in found.values() for problem in entries]
    if as_json:
        verdicts = [
            {"name": name, "ok": not errors_of(entries), "problems": [problem.as_dict() for problem in entries]}
            for name, entries in found.items()
        ]
        print_json(not errors_of(problems), problems, tenants=verdicts)
    else:
        for name, entries in found.items():
            out.print(
                f"[bold]{escape(name)}[/]: {'[red]cannot be served[/]' if errors_of(entries) else '[green]well[/]'}"
            )
            for problem in entries:
                print_problem(problem)
    raise typer.Exit(1 if errors_of(problems) else 0)


@app.command("new")
def tenant_new(
    name: Annotated[str, typer.Argument(help="The folder's name: letters, digits and `_`.")],
    source: Annotated[Path | None, typer.Option("--from", help="A dbt project to copy; else the template.")] = None,
) -> None:
    """Make a tenant: from the template, or from a dbt project that exists."""
    from dagster_apollo.new_tenant import make_tenant

    _, places = here()
    folder, notes = make_tenant(places.tenants_dir, places.root / "tenants" / "_template", name, source)
    out.print(f"made {folder}", markup=False)
    for problem in notes:
        print_problem(problem)
    out.print(f"next: `apollo tenant check {name}`, then `make dev`, again where it runs", markup=False)
