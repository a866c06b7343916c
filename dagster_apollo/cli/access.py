"""`apollo users` and `apollo tokens`: who may use a Dagster that is behind its login.

They change the access file of this machine; how it gets to a webserver is docs/access.md. A password is typed or piped
in, never an argument; a token is printed once.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from dagster_apollo.access.identity.access_file import (
    NAME,
    AccessFile,
    TokenEntry,
    UserEntry,
    digest_of,
    new_token,
    utc_now,
    wrapped,
)
from dagster_apollo.access.identity.access_source import change, read
from dagster_apollo.access.identity.passwords import hash_password, weakness
from dagster_apollo.cli.console import JsonOption, environ_here, err, here, out, print_json, print_problem
from dagster_apollo.errors import AccessFileError, Problem
from dagster_apollo.fork import Rule
from dagster_apollo.settings import read as read_settings

users_app = typer.Typer(no_args_is_help=True, help="People who log in by password.")
tokens_app = typer.Typer(no_args_is_help=True, help="Tokens for programs.")

NameArgument = Annotated[str, typer.Argument(help="The name: lower-case letters, digits and . _ @ + -.")]
RoleOption = Annotated[
    Literal["viewer", "operator", "administrator"],
    typer.Option("--role", help="viewer sees, operator also launches and changes, administrator may do everything."),
]
TenantOption = Annotated[
    list[str] | None,
    typer.Option("--tenant", help="A tenant that the role is about, once for each; none: all.", show_default=False),
]
ConfinedOption = Annotated[bool, typer.Option("--confined", help="See nothing of any other tenant.")]
DaysOption = Annotated[int, typer.Option("--days", min=1, max=3650, help="In how many days it ends.")]


@users_app.command("add")
def users_add(
    name: NameArgument, role: RoleOption = "viewer", tenant: TenantOption = None, confined: ConfinedOption = False
) -> None:
    """Add a person; the password is asked for, or read from standard input."""
    file = _file()
    _refuse_known(read(file), name)
    rule = _rule(role, tenant, confined)
    password_hash = _hashed(name)

    def add(before: AccessFile) -> AccessFile:
        _refuse_known(before, name)
        return before.with_user(name, UserEntry(password_hash=password_hash, **rule))

    change(file, add)
    err.print(f"added {name} to {file}: {_told(rule)}", markup=False)
    _say_what_is_served()


@users_app.command("password")
def users_password(name: NameArgument) -> None:
    """Give a person another password; their sessions end."""
    file = _file()
    _entry(read(file).users, name, "a user")
    password_hash = _hashed(name)

    def replace(before: AccessFile) -> AccessFile:
        entry = _entry(before.users, name, "a user")
        return before.with_user(name, UserEntry(**{**entry.model_dump(), "password_hash": password_hash}))

    change(file, replace)
    err.print(f"{name} has another password in {file}", markup=False)
    _say_what_is_served()


@users_app.command("list")
def users_list(as_json: JsonOption = False) -> None:
    """List the people."""
    rows = [{"name": name, **_shown(entry)} for name, entry in read(_file()).users.items()]
    _print(rows, "users", as_json)


@users_app.command("remove")
def users_remove(name: NameArgument) -> None:
    """Remove a person; their sessions end."""
    file = _file()

    def remove(before: AccessFile) -> AccessFile:
        _entry(before.users, name, "a user")
        return before.without(name)

    change(file, remove)
    err.print(f"removed {name} from {file}", markup=False)
    _say_what_is_served()


@users_app.command("export")
def users_export() -> None:
    """Print the access file, people and tokens, as one line for the variable APOLLO_ACCESS."""
    sys.stdout.write(wrapped(read(_file())) + "\n")


@tokens_app.command("new")
def tokens_new(
    name: NameArgument,
    role: RoleOption = "viewer",
    days: DaysOption = 90,
    tenant: TenantOption = None,
    confined: ConfinedOption = False,
) -> None:
    """Make a token for a program and print it: it is shown this once."""
    file = _file()
    rule = _rule(role, tenant, confined)
    token = new_token()
    entry = TokenEntry(sha256=digest_of(token), expires=utc_now().replace(microsecond=0) + timedelta(days=days), **rule)

    def add(before: AccessFile) -> AccessFile:
        _refuse_known(before, name)
        return before.with_token(name, entry)

    change(file, add)
    err.print(f"added {name} to {file}: {_told(rule)}, until {entry.expires:%Y-%m-%d %H:%M} UTC", markup=False)
    _say_what_is_served()
    err.print("This is the token. It is not kept and cannot be shown again:", markup=False)
    sys.stdout.write(token + "\n")


@tokens_app.command("list")
def tokens_list(as_json: JsonOption = False) -> None:
    """List the tokens, with their ends."""
    now = utc_now()
    rows = [
        {"name": name, **_shown(entry), "expires": entry.expires.isoformat(), "expired": entry.is_over(now)}
        for name, entry in read(_file()).tokens.items()
    ]
    _print(rows, "tokens", as_json)


@tokens_app.command("revoke")
def tokens_revoke(name: NameArgument) -> None:
    """Remove a token: it lets nobody in any more."""
    file = _file()

    def remove(before: AccessFile) -> AccessFile:
        _entry(before.tokens, name, "a token")
        return before.without(name)

    change(file, remove)
    err.print(f"revoked {name} in {file}", markup=False)
    _say_what_is_served()


def _file() -> Path:
    return here()[1].root / str(read_settings(_settings())["APOLLO_ACCESS_PATH"])


def _settings() -> dict[str, str]:
    """The two settings that count here: another that is wrong is not to stand in the way."""
    environ = environ_here()
    return {name: environ[name] for name in ("APOLLO_ACCESS", "APOLLO_ACCESS_PATH") if name in environ}


def _say_what_is_served() -> None:
    if _settings().get("APOLLO_ACCESS", "").strip():
        what = "is set here, and a webserver reads it in place of the file"
        print_problem(Problem("APOLLO_ACCESS", what, "Set it to what `apollo users export` prints.", "note"), err)


def _rule(role: str, tenants: list[str] | None, confined: bool) -> dict[str, Any]:
    rule = {"role": role, "tenants": tuple(tenants) if tenants else None, "confined": confined}
    try:
        Rule.model_validate(rule)
    except ValueError:
        what = (
            "an administrator is one of everything"
            if role == "administrator"
            else "nobody can be confined to no tenant"
        )
        remedy = "Leave out --tenant and --confined." if role == "administrator" else "Name the tenants: --tenant."
        raise AccessFileError([Problem("--confined, --tenant", what, remedy)]) from None
    _, places = here()
    for tenant in tenants or []:
        if not (places.tenants_dir / tenant).is_dir():
            remedy = f"Add the folder {places.tenants_dir.name}/{tenant}, or correct the name."
            print_problem(Problem(f"--tenant {tenant}", "there is no such tenant yet", remedy, "warning"), err)
    return rule


def _hashed(name: str) -> str:
    """The hash of a password that is typed twice, or comes by standard input."""
    if sys.stdin.isatty():
        password = getpass.getpass(f"Password for {name}: ")
        if password != getpass.getpass("Again: "):
            raise AccessFileError([Problem("the password", "was not the same twice", "Type it again.")])
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if why := weakness(name, password):
        remedy = "Take a longer one: four or five words that have nothing to do with each other."
        raise AccessFileError([Problem("the password", f"is too weak: {why}", remedy)])
    return hash_password(password)


def _refuse_known(content: AccessFile, name: str) -> None:
    if not NAME.fullmatch(name):
        remedy = "Write lower-case letters, digits and . _ @ + -, beginning with a letter or digit."
        raise AccessFileError([Problem(repr(name), "is not a name", remedy)])
    if name in content.users:
        remedy = "Take another name, or see `apollo users password` and `apollo users remove`."
        raise AccessFileError([Problem(name, "is a user already", remedy)])
    if name in content.tokens:
        raise AccessFileError(
            [Problem(name, "is a token already", "Take another name, or see `apollo tokens revoke`.")]
        )


def _entry(entries: Mapping[str, Any], name: str, kind: str) -> Any:
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none"
        raise AccessFileError([Problem(name, f"is not {kind}", f"Known: {known}.")])
    return entries[name]


def _shown(entry: Rule) -> dict[str, Any]:
    return {
        "role": entry.role,
        "tenants": None if entry.tenants is None else list(entry.tenants),
        "confined": entry.confined,
    }


def _told(rule: Mapping[str, Any]) -> str:
    tenants = f" of {', '.join(rule['tenants'])}" if rule["tenants"] else ""
    return f"{rule['role']}{tenants}{', confined' if rule['confined'] else ''}"


def _print(rows: list[dict[str, Any]], kind: str, as_json: bool) -> None:
    if as_json:
        print_json(True, [], **{kind: rows})
        return
    table = Table("name", "role", "tenants", *(["ends"] if kind == "tokens" else []), box=None)
    for row in rows:
        tenants = "all" if row["tenants"] is None else ", ".join(row["tenants"])
        cells = [row["name"], row["role"], f"{tenants}, confined" if row["confined"] else tenants]
        if kind == "tokens":
            cells.append(f"{row['expires'][:10]}{' (over)' if row['expired'] else ''}")
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)
