"""The commands: `serve`, `up`, and the administration of an account that is not being served.

Each is a few lines over the modules that do the work; the environment is read here. What needs DuckDB is imported by
the commands that serve, so that the others start at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from local_snowflake.account import KEY_SLOTS, Account
from local_snowflake.errors import SqlError
from local_snowflake.root import PortInUseError, RootInUseError, account_file, locked
from local_snowflake.settings import Settings, SettingsError

app = typer.Typer(
    help="A Snowflake for laptops and tests, on fakesnow and DuckDB.", no_args_is_help=True, add_completion=False
)

Root = Annotated[Path, typer.Option(help="Folder of the account: users, keys and databases.", file_okay=False)]
AccountName = Annotated[str, typer.Option("--account", help="Name of the account, as clients give it.")]
Host = Annotated[str, typer.Option(help="Address to listen on; loopback unless you say otherwise.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)]
Names = Annotated[list[str], typer.Argument(help="One or more names.")]


@app.command()
def serve(
    root: Root,
    port: Port = 8085,
    host: Host = "127.0.0.1",
    account: AccountName = "LOCALACCT",
    database: Annotated[
        list[str] | None, typer.Option(help="Database to make if it is not there; repeatable. [default: ANALYTICS]")
    ] = None,
) -> None:
    """Serve an account until SIGTERM or SIGINT; prints one line `ready http://HOST:PORT` when it answers."""
    from local_snowflake.serving import serve as run

    run(root, account, host, port, database or ["ANALYTICS"], Settings.from_environment(os.environ))


@app.command()
def up(root: Root, port: Port = 8085, host: Host = "127.0.0.1", account: AccountName = "LOCALACCT") -> None:
    """A laptop's server: makes a key pair and a user at first, prints the environment to use, and serves."""
    from local_snowflake import laptop
    from local_snowflake.serving import serve as run
    from local_snowflake.serving import usable_port

    settings = Settings.from_environment(os.environ)
    port = usable_port(host, port)
    laptop.prepare(root, account)
    exports = laptop.environment(root, account, host, port)
    (root / "env").write_text(exports)
    sys.stdout.write(exports)
    sys.stdout.flush()
    run(root, account, host, port, [laptop.DATABASE], settings)


@app.command()
def user(
    name: str,
    root: Root,
    key: Annotated[Path | None, typer.Option(help="PEM file of a public key for the first slot.", exists=True)] = None,
    key2: Annotated[Path | None, typer.Option(help="PEM file for the second slot.", exists=True)] = None,
    unset: Annotated[list[str] | None, typer.Option(help=f"Slot to empty: {' or '.join(KEY_SLOTS)}.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Role to grant; repeatable.")] = None,
    default_role: Annotated[str | None, typer.Option()] = None,
    default_warehouse: Annotated[str | None, typer.Option()] = None,
    create_missing: Annotated[bool, typer.Option(help="Make the roles and the warehouse that are not there.")] = False,
) -> None:
    """Make a user or change one."""
    slots = [slot.upper() for slot in unset or []]
    if wrong := [slot for slot in slots if slot not in KEY_SLOTS]:
        raise typer.BadParameter(f"{', '.join(wrong)} is not a key slot; there are {' and '.join(KEY_SLOTS)}")
    properties: dict[str, str | None] = dict.fromkeys(slots)
    for slot, file in zip(KEY_SLOTS, (key, key2), strict=True):
        if file:
            properties[slot] = file.read_text()
    if default_role:
        properties["DEFAULT_ROLE"] = default_role.upper()
    if default_warehouse:
        properties["DEFAULT_WAREHOUSE"] = default_warehouse.upper()
    with locked(root):
        stored = _account(root)
        if create_missing:
            for granted in role or []:
                stored.create_role(granted)
            if default_warehouse:
                stored.create_warehouse(default_warehouse)
        for granted in role or []:
            stored.require_role(granted.upper())
        stored.create_user(name, {}, replace=False, if_not_exists=True)
        stored.alter_user(name, properties)
        for granted in role or []:
            stored.change_role_grant(granted, user=name, grant=True)


@app.command()
def role(names: Names, root: Root) -> None:
    """Make roles."""
    _make(root, names, Account.create_role)


@app.command()
def warehouse(names: Names, root: Root) -> None:
    """Make warehouses."""
    _make(root, names, Account.create_warehouse)


def _make(root: Path, names: list[str], create: Callable[[Account, str], None]) -> None:
    with locked(root):
        account = _account(root)
        for name in names:
            create(account, name)


def _account(root: Path) -> Account:
    """The account of a folder; its name is not kept there, the server is given it."""
    return Account("", account_file(root))


def main() -> None:
    """Run a command; what goes wrong in a way that the user can mend is one line and exit code 1."""
    try:
        app()
    except (PortInUseError, RootInUseError, SettingsError, SqlError) as error:
        sys.exit(f"local_snowflake: {error}")
