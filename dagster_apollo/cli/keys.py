"""`apollo keys`: Snowflake key pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.warehouse.profiles import snowflake_key

app = typer.Typer(no_args_is_help=True, help="Snowflake key pairs.")


@app.command("new")
def keys_new(
    user: Annotated[str, typer.Option(help="The Snowflake user that it is for.")],
    path: Annotated[Path, typer.Argument(help="The new private key's file.")] = Path("snowflake_key.p8"),
) -> None:
    """Write a new key pair (0600) and print the ALTER USER that registers it."""
    from dagster_apollo.warehouse.rotation import Slot, alter_user_sql, new_key_pair, quoted_identifier

    quoted_identifier(user)  # refused before a key is written for nobody
    key = new_key_pair(path)
    out.print(f"wrote {path}: {key.bits} bits, {key.fingerprint}", markup=False)
    out.print("Have an owner of the user run:\n", markup=False)
    out.print(alter_user_sql(user, key, Slot.FIRST), markup=False)
    out.print(f"\nThen set SNOWFLAKE_PRIVATE_KEY_PATH={path.resolve()}", markup=False)


@app.command("check")
def keys_check(names: TenantsArgument = None, as_json: JsonOption = False) -> None:
    """Validate the Snowflake settings and the key that each tenant would use."""
    environ, places = here()
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for name in names_of(places, environ, names):
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
        print_json(not errors_of(problems), problems, keys=rows)
    else:
        for row in rows:
            shown = f"{row['fingerprint']}, {row['bits']} bits" if row["fingerprint"] else "no usable key"
            who = f" of {row['user']} at {row['account']}" if row["user"] and row["account"] else ""
            out.print(f"{row['tenant']}: {shown}{who}", markup=False)
        for problem in problems:
            print_problem(problem)
    raise typer.Exit(1 if errors_of(problems) else 0)


@app.command("rotate")
def keys_rotate(
    tenant: Annotated[str, typer.Argument(help="The tenant whose key is replaced.")],
    new_key: Annotated[Path, typer.Option("--new-key", help="The new key's file; made when it is not there.")],
    execute: Annotated[bool, typer.Option("--execute", help="Run the SQL as this user, who must own it.")] = False,
) -> None:
    """Replace a key by way of the user's two slots, step by step; call it again after each until nothing is left."""
    from dagster_apollo.host.key_rotation import rotate

    environ, places = here()
    remaining = rotate(environ, places, tenant, new_key, execute=execute)
    for done, step in remaining:
        out.print(f"[bold]{'done' if done else 'to do'}[/]: ", end="")
        out.print(f"{step.title}\n    {step.explanation}", markup=False)
        if step.sql and not done:
            out.print(f"    {step.sql}", markup=False)
    if not remaining:
        out.print("nothing is left to do: the new key alone is in use", markup=False)
