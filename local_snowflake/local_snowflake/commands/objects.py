"""CREATE and DROP of users, roles and warehouses; what this server has no such thing for is refused by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_snowflake.commands.tokens import Tokens
from local_snowflake.errors import already_exists, missing, unsupported
from local_snowflake.results import Result, status

if TYPE_CHECKING:
    from local_snowflake.session import Session

_ACCOUNT_OBJECTS = ("USER", "ROLE", "WAREHOUSE")
_REFUSED = (
    "STAGE",
    "FILE FORMAT",  # one word to sqlglot
    "TASK",
    "STREAM",
    "PIPE",
    "DYNAMIC",
    "FUNCTION",
    "PROCEDURE",
    "EXTERNAL",
    "SHARE",
    "INTEGRATION",
    "MASKING",
    "ICEBERG",
    "SECRET",
    "NETWORK",
    "MATERIALIZED",
)


def create(tokens: Tokens, session: Session) -> Result | None:
    replace = tokens.take("OR", "REPLACE")
    kind = _kind(tokens, "CREATE")
    if kind is None:
        return None
    if_not_exists = tokens.take("IF", "NOT", "EXISTS")
    name = tokens.part()
    account = session.engine.account
    if kind == "USER":
        account.create_user(name, tokens.properties(), replace, if_not_exists)
    else:
        existing: dict[str, Any] = account.roles if kind == "ROLE" else account.warehouses
        if name in existing and not (replace or if_not_exists):
            raise already_exists(name)
        tokens.take("WITH")
        properties = {key: value or "" for key, value in tokens.properties().items()}
        if kind == "ROLE":
            account.create_role(name)
        else:
            account.create_warehouse(name, properties)
    return status(f"{kind.title()} {name} successfully created.")


def drop(tokens: Tokens, session: Session) -> Result | None:
    kind = _kind(tokens, "DROP")
    if kind is None:
        return None
    if_exists = tokens.take("IF", "EXISTS")
    name = tokens.part()
    account = session.engine.account
    all_kinds: dict[str, dict[str, Any]] = {
        "USER": account.users,
        "ROLE": account.roles,
        "WAREHOUSE": account.warehouses,
    }
    existing = all_kinds[kind]
    with account.lock:
        if name not in existing and not if_exists:
            raise missing(kind.title(), name)
        existing.pop(name, None)
        account.save()
    return status(f"{name} successfully dropped.")


def _kind(tokens: Tokens, verb: str) -> str | None:
    """USER, ROLE or WAREHOUSE, taken; None for what is SQL's.

    Raises:
        SqlError: a kind that is not supported, or a temporary or secure one of it.
    """
    kind = tokens.word()
    named = tokens.word(1) if kind in ("SECURE", "TEMPORARY", "TEMP") else kind
    if named in _REFUSED:
        raise unsupported(f"{verb} {named}")
    if kind not in _ACCOUNT_OBJECTS:
        return None
    tokens.part()
    return kind
