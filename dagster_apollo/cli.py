"""`apollo`: the commands. Each is a few lines over what is below; exit code 0 is well, 1 something was found wrong, 2
wrong usage. What `--json` prints is documented in docs/commands.md and does not change its form."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dagster_apollo import environment
from dagster_apollo.dbt.workspace import Places, open_workspace, read_tenant, repository_root
from dagster_apollo.errors import ApolloError, Problem, ProblemsError
from dagster_apollo.tenant import chosen_names
from dagster_apollo.warehouse.profiles import snowflake_key

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Dagster OSS for many dbt tenants.")
tenant_app = typer.Typer(no_args_is_help=True, help="The folders under tenants/.")
keys_app = typer.Typer(no_args_is_help=True, help="Snowflake key pairs.")
app.add_typer(tenant_app, name="tenant")
app.add_typer(keys_app, name="keys")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, in the form of docs/commands.md.")]
TenantsArgument = Annotated[list[str] | None, typer.Argument(help="Tenants; none: all.", show_default=False)]

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def dev(
    build: Annotated[bool, typer.Option(help="Build what was never built.")] = True,
) -> None:
    """Serve all tenants on this machine until Ctrl-C: webserver, daemon and code locations."""
    from dagster_apollo.host.stack import serve

    try:
        serve(_environ(), repository_root(), lambda line: _out.print(line, markup=False), build=build)
    except KeyboardInterrupt:
        _out.print("stopped")


@app.command()
def prepare(
    names: TenantsArgument = None,
    force: Annotated[bool, typer.Option("--force", help="Also where nothing changed.")] = False,
) -> None:
    """Install packages and make manifests: `dbt deps && dbt parse`, where something changed."""
    from dagster_apollo.dbt.preparation import prepare as prepare_tenant
    from dagster_apollo.host.crossings import record_crossings

    environ, places = _here()
    problems: list[Problem] = []
    chosen = _names(places, environ, names)
    for name in chosen:
        try:
            workspace = open_workspace(environ, places, name)
            made = prepare_tenant(workspace, force=force)
        except ProblemsError as error:
            problems += error.problems
            continue
        _out.print(f"{name}: {'prepared' if made else 'is current'} for {workspace.values.target}", markup=False)
    shared = record_crossings(environ, places)
    problems += [problem for name in chosen for problem in shared.get(name, [])]
    _finish(problems)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def dbt(context: typer.Context, tenant: Annotated[str, typer.Argument(help="The tenant.")]) -> None:
    """Run dbt by hand with a tenant's profile, environment and target: `apollo dbt TENANT -- run --select …`."""
    environ, places = _here()
    words = [word for word in context.args if word != "--"] if context.args[:1] == ["--"] else context.args
    parse_only = words[:1] in (["parse"], ["deps"], ["ls"], ["list"], ["clean"])
    workspace = open_workspace(environ, places, tenant, parse_only=parse_only)
    folder = places.state_dir / "tenants" / tenant / "by_hand"
    process = workspace.dbt(words, folder, events=False)
    command = [str(Path(sys.executable).parent / "dbt"), *process.arguments]
    child = subprocess.Popen(command, env=dict(process.environment), cwd=process.folder)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())  # a terminal would tell dbt itself; a program does not
    while True:
        try:
            code = child.wait()
            break
        except KeyboardInterrupt:  # the terminal has interrupted dbt too: it cancels its queries, we wait
            continue
    _out.print(f"artifacts: {folder}", markup=False)
    raise typer.Exit(code)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what is wrong with this machine, environment, tenants, keys, connections and database, and what to do."""
    from dagster_apollo.doctor import examine

    environ, places = _here()
    found = examine(environ, places)
    problems = [problem for entries in found.values() for problem in entries]
    ok = not _errors(problems)
    if as_json:
        _print_json(
            ok, problems, checks={heading: [p.as_dict() for p in entries] for heading, entries in found.items()}
        )
    else:
        for heading, entries in found.items():
            _out.print(f"[bold]{heading}[/]: {'[red]something is wrong[/]' if _errors(entries) else '[green]well[/]'}")
            for problem in entries:
                _print_problem(problem)
    raise typer.Exit(0 if ok else 1)


@tenant_app.command("list")
def tenant_list(as_json: JsonOption = False) -> None:
    """List the tenants."""
    environ, places = _here()
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for name in _names(places, environ, None):
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
                "warehouse": "duckdb" if values.target == "local" else tenant.config.warehouse,
                "schedule": schedule.cron if schedule and values.target in schedule.running_in else None,
                "project": tenant.project["name"],
            }
        )
    if as_json:
        _print_json(not problems, problems, tenants=rows)
    else:
        table = Table("tenant", "target", "warehouse", "schedule", "dbt project", box=None)
        for row in rows:
            state = row["schedule"] or "stopped"
            cells = (row["target"], row["warehouse"], state, row["project"]) if row["ok"] else ("cannot be served",)
            table.add_row(*(escape(str(cell)) for cell in (row["name"], *cells)))
        _out.print(table)
        for problem in problems:
            _print_problem(problem)
    raise typer.Exit(1 if problems else 0)


@tenant_app.command("check")
def tenant_check(names: TenantsArgument = None, as_json: JsonOption = False) -> None:
    """Find everything that keeps tenants from being served: folder, settings, key, packages, dbt, Dagster, Python."""
    from dagster_apollo.host.inspection import inspect_tenants

    environ, places = _here()
    found = inspect_tenants(environ, places, _names(places, environ, names))
    problems = [problem for entries in found.values() for problem in entries]
    if as_json:
        verdicts = [
            {"name": name, "ok": not _errors(entries), "problems": [problem.as_dict() for problem in entries]}
            for name, entries in found.items()
        ]
        _print_json(not _errors(problems), problems, tenants=verdicts)
    else:
        for name, entries in found.items():
            _out.print(
                f"[bold]{escape(name)}[/]: {'[red]cannot be served[/]' if _errors(entries) else '[green]well[/]'}"
            )
            for problem in entries:
                _print_problem(problem)
    raise typer.Exit(1 if _errors(problems) else 0)


@tenant_app.command("new")
def tenant_new(
    name: Annotated[str, typer.Argument(help="The folder's name: letters, digits and `_`.")],
    source: Annotated[Path | None, typer.Option("--from", help="A dbt project to copy; else the template.")] = None,
) -> None:
    """Make a tenant: from the template, or from a dbt project that exists."""
    from dagster_apollo.new_tenant import make_tenant

    _, places = _here()
    folder, notes = make_tenant(places.tenants_dir, places.root / "tenants" / "_template", name, source)
    _out.print(f"made {folder}", markup=False)
    for problem in notes:
        _print_problem(problem)
    _out.print(f"next: `apollo tenant check {name}`, then `make dev`", markup=False)


@keys_app.command("new")
def keys_new(
    user: Annotated[str, typer.Option(help="The Snowflake user that it is for.")],
    path: Annotated[Path, typer.Argument(help="The new private key's file.")] = Path("snowflake_key.p8"),
) -> None:
    """Write a new key pair (0600) and print the ALTER USER that registers it."""
    from dagster_apollo.warehouse.rotation import Slot, alter_user_sql, new_key_pair, quoted_identifier

    quoted_identifier(user)  # refused before a key is written for nobody
    key = new_key_pair(path)
    _out.print(f"wrote {path}: {key.bits} bits, {key.fingerprint}", markup=False)
    _out.print("Have an owner of the user run:\n", markup=False)
    _out.print(alter_user_sql(user, key, Slot.FIRST), markup=False)
    _out.print(f"\nThen set SNOWFLAKE_PRIVATE_KEY_PATH={path.resolve()}", markup=False)


@keys_app.command("check")
def keys_check(names: TenantsArgument = None, as_json: JsonOption = False) -> None:
    """Validate the Snowflake settings and the key that each tenant would use."""
    environ, places = _here()
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for name in _names(places, environ, names):
        try:
            tenant, values = read_tenant(environ, places, name)
        except ProblemsError as error:
            problems += error.problems
            continue
        if tenant.config.warehouse != "snowflake":
            continue
        key, found = snowflake_key(tenant, values)
        problems += [*found, *(key.notes if key else ())]
        rows.append(
            {
                "tenant": name,
                "ok": not found,
                "user": values["SNOWFLAKE_USER"],
                "account": values["SNOWFLAKE_ACCOUNT"],
                "fingerprint": key.fingerprint if key else None,
                "bits": key.bits if key else None,
            }
        )
    if as_json:
        _print_json(not _errors(problems), problems, keys=rows)
    else:
        for row in rows:
            shown = f"{row['fingerprint']}, {row['bits']} bits" if row["fingerprint"] else "no usable key"
            who = f" of {row['user']} at {row['account']}" if row["user"] and row["account"] else ""
            _out.print(f"{row['tenant']}: {shown}{who}", markup=False)
        for problem in problems:
            _print_problem(problem)
    raise typer.Exit(1 if _errors(problems) else 0)


@keys_app.command("rotate")
def keys_rotate(
    tenant: Annotated[str, typer.Argument(help="The tenant whose key is replaced.")],
    new_key: Annotated[Path, typer.Option("--new-key", help="The new key's file; made when it is not there.")],
    execute: Annotated[bool, typer.Option("--execute", help="Run the SQL as this user, who must own it.")] = False,
) -> None:
    """Replace a key by way of the user's two slots, step by step; call it again after each until nothing is left."""
    from dagster_apollo.host.key_rotation import rotate

    environ, places = _here()
    remaining = rotate(environ, places, tenant, new_key, execute=execute)
    for done, step in remaining:
        _out.print(f"[bold]{'done' if done else 'to do'}[/]: ", end="")
        _out.print(f"{step.title}\n    {step.explanation}", markup=False)
        if step.sql and not done:
            _out.print(f"    {step.sql}", markup=False)
    if not remaining:
        _out.print("nothing is left to do: the new key alone is in use", markup=False)


def main() -> None:
    """The entry point: errors of ours are told without a traceback."""
    _end_as_by_ctrl_c()
    try:
        app()
    except ProblemsError as error:
        _err.print(f"[red bold]error[/]: {escape(error.heading)}")
        for problem in error.problems:
            _print_problem(problem, _err)
        raise SystemExit(1) from None
    except ApolloError as error:
        _err.print(f"error: {error}", markup=False)
        raise SystemExit(1) from None
    except OSError as error:
        where = str(error.filename or "a file")
        remedy = "Check the path, its permissions, and the settings that name it (APOLLO_STATE_DIR, DAGSTER_HOME, …)."
        _print_problem(Problem(where, f"cannot be used: {error.strerror or error}", remedy), _err)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        _err.print("interrupted")
        raise SystemExit(130) from None


def _environ() -> dict[str, str]:
    environ = environment.from_process(repository_root())
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    return environ


def _here() -> tuple[dict[str, str], Places]:
    environ = _environ()
    return environ, Places.find(environ, repository_root())


def _names(places: Places, environ: Mapping[str, str], names: list[str] | None) -> list[str]:
    return chosen_names(places.tenants_dir, ",".join(names) if names is not None else environ.get("TENANTS"))


def _end_as_by_ctrl_c() -> None:
    """SIGTERM, and SIGHUP when the terminal is closed, end a command as Ctrl-C does: orderly.

    So does SIGINT in the background of a script, whose shell has had it ignored.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def _errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]


def _finish(problems: list[Problem]) -> None:
    for problem in problems:
        _print_problem(problem, _err)
    if _errors(problems):
        raise typer.Exit(1)


def _print_problem(problem: Problem, console: Console = _out) -> None:
    colour = {"error": "red", "warning": "yellow", "note": "cyan"}[problem.severity]
    console.print(f"  [{colour}]{problem.severity}[/] ", end="")
    console.print(str(problem), markup=False)


def _print_json(ok: bool, problems: list[Problem], **content: Any) -> None:
    document = {"ok": ok, **content, "problems": [problem.as_dict() for problem in problems]}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
