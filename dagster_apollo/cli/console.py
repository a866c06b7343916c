"""What all commands share: where they read their variables and tenants, and how a problem is told.

What `--json` prints is documented in docs/commands.md and does not change its form.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from dagster_apollo import environment
from dagster_apollo.dbt.workspace import Places, repository_root
from dagster_apollo.errors import Problem
from dagster_apollo.tenant import chosen_names

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, in the form of docs/commands.md.")]
TenantsArgument = Annotated[list[str] | None, typer.Argument(help="Tenants; none: all.", show_default=False)]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def environ_here() -> dict[str, str]:
    environ = environment.from_process(repository_root())
    # Beside a running `apollo dev`, what stands in there for services is used here as well.
    environ = environment.with_stand_ins(environ, Places.find(environ, repository_root()).state_dir / "stand_ins")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    return environ


def here() -> tuple[dict[str, str], Places]:
    environ = environ_here()
    return environ, Places.find(environ, repository_root())


def names_of(places: Places, environ: Mapping[str, str], names: list[str] | None) -> list[str]:
    return chosen_names(places.tenants_dir, ",".join(names) if names is not None else environ.get("TENANTS"))


def errors_of(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]


def finish(problems: list[Problem]) -> None:
    for problem in problems:
        print_problem(problem, err)
    if errors_of(problems):
        raise typer.Exit(1)


def print_problem(problem: Problem, console: Console = out) -> None:
    colour = {"error": "red", "warning": "yellow", "note": "cyan"}[problem.severity]
    console.print(f"  [{colour}]{problem.severity}[/] ", end="")
    console.print(str(problem), markup=False)


def print_json(ok: bool, problems: list[Problem], **content: Any) -> None:
    document = {"ok": ok, **content, "problems": [problem.as_dict() for problem in problems]}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
