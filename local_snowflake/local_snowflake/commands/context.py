"""Commands that change the session: transactions, USE, UNSET."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_snowflake.commands.tokens import Tokens
from local_snowflake.errors import SqlError, compilation_error, no_such_object, unsupported
from local_snowflake.results import Result, status

if TYPE_CHECKING:
    from local_snowflake.session import Session


def begin(tokens: Tokens, session: Session) -> Result:
    tokens.take_one_of("TRANSACTION", "WORK")
    if tokens.take("NAME"):
        tokens.part()
    if not tokens.done:
        raise unsupported("Snowflake Scripting (BEGIN ... END)")
    session.transaction.begin()
    return status()


def commit(_: Tokens, session: Session) -> Result:
    session.transaction.commit()
    return status()


def rollback(_: Tokens, session: Session) -> Result:
    session.transaction.rollback()
    return status()


def use(tokens: Tokens, session: Session) -> Result:
    if tokens.take("ROLE"):
        _use_role(tokens.part(), session)
        return status()
    if tokens.take("WAREHOUSE"):
        warehouse = tokens.part()
        if warehouse not in session.engine.account.warehouses:
            raise no_such_object()
        session.warehouse = warehouse
        return status()
    if tokens.take("SECONDARY"):
        return status()  # grants are not enforced, so that secondary roles change nothing
    kind = tokens.take_one_of("SCHEMA", "DATABASE")
    name = tokens.name()
    if kind is None:
        kind = "SCHEMA" if len(name) == 2 else "DATABASE"
    if kind == "DATABASE":
        session.use(name[0], None)
    else:
        session.use(name[0] if len(name) == 2 else session.database, name[-1])
    return status()


def _use_role(role: str, session: Session) -> None:
    account = session.engine.account
    known = role in account.roles
    if not known or role not in account.roles_of(session.user):
        text = f"Role '{role}' does not exist or not authorized."
        raise compilation_error(text, 3001 if known else 2043, "02000")
    session.role = role


def unset(tokens: Tokens, session: Session) -> Result:
    names = tokens.names()
    if not names:
        raise tokens.unexpected()
    unknown = [name for name in names if name not in session.variables]
    if unknown:
        text = f"SQL compilation error:\nSession variable '${unknown[0]}' does not exist"
        raise SqlError(2211, "02000", text)
    for name in names:
        del session.variables[name]
    return status()
