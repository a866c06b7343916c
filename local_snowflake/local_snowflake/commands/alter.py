"""ALTER SESSION, USER, WAREHOUSE, and of ALTER TABLE and VIEW what is not DuckDB's to do.

Options that only tune a real Snowflake (clustering, retention, warehouse size) are accepted and change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_snowflake.commands.comment import set_comments
from local_snowflake.commands.tokens import Tokens
from local_snowflake.errors import missing, unsupported
from local_snowflake.names import ObjectName, quoted
from local_snowflake.results import Result, status

if TYPE_CHECKING:
    from local_snowflake.session import Session

_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN")
_SWAP_NAME = "_LOCAL_SNOWFLAKE_SWAP"


def alter(tokens: Tokens, session: Session) -> Result | None:
    if tokens.take("SESSION"):
        return _session(tokens, session)
    if tokens.take("USER"):
        return _user(tokens, session)
    if tokens.take("WAREHOUSE"):
        return _warehouse(tokens, session)
    tokens.take("TRANSIENT")
    if tokens.word() in ("DYNAMIC", "ICEBERG", "EXTERNAL", "TASK", "STREAM", "FUNCTION", "PROCEDURE"):
        raise unsupported(f"ALTER {tokens.word()}")
    if tokens.take_one_of("TABLE", "VIEW"):
        tokens.take("IF", "EXISTS")
        return _table(tokens, session, session.resolve(tokens.name()))
    return None


def _session(tokens: Tokens, session: Session) -> Result:
    if tokens.take("SET"):
        for name, value in tokens.properties().items():
            session.set_parameter(name, value or "")
    elif tokens.take("UNSET"):
        for name in tokens.names():
            session.parameters.pop(name, None)
    else:
        raise tokens.unexpected()
    return status()


def _user(tokens: Tokens, session: Session) -> Result:
    tokens.take("IF", "EXISTS")
    name = session.user if tokens.word() in ("SET", "UNSET") else tokens.part()
    if tokens.take("SET"):
        session.engine.account.alter_user(name, tokens.properties())
    elif tokens.take("UNSET"):
        session.engine.account.alter_user(name, dict.fromkeys(tokens.names()))
    else:
        raise tokens.unexpected()
    return status()


def _warehouse(tokens: Tokens, session: Session) -> Result:
    if_exists = tokens.take("IF", "EXISTS")
    name = tokens.part()
    if name not in session.engine.account.warehouses and not if_exists:
        raise missing("Warehouse", name)
    return status()


def _table(tokens: Tokens, session: Session, name: ObjectName) -> Result | None:
    if tokens.take_one_of("ALTER", "MODIFY"):
        return _column_comments(tokens, session, name)
    if tokens.take("SET", "COMMENT"):
        tokens.take("=")
        set_comments(session, name, tokens.string())
        return status()
    if tokens.take("DROP"):
        return _drop_columns(tokens, session, name)
    if tokens.take("SWAP", "WITH"):
        return _swap(session, name, session.resolve(tokens.name()))
    if tokens.take("ADD"):
        return status() if tokens.word() in _CONSTRAINTS else None
    if tokens.take_one_of("CLUSTER", "RESUME", "SUSPEND", "SET", "UNSET"):
        return status()
    return None


def _column_comments(tokens: Tokens, session: Session, name: ObjectName) -> Result | None:
    """ALTER TABLE t ALTER [COLUMN] a COMMENT 'x', [COLUMN] b COMMENT 'y'; None when it is about a type."""
    comments = {}
    while not tokens.done:
        tokens.take("COLUMN")
        column = tokens.part()
        if not tokens.take("COMMENT"):
            return None
        comments[column] = tokens.string()
        tokens.take(",")
        tokens.take_one_of("ALTER", "MODIFY")
    set_comments(session, name, comments)
    return status()


def _drop_columns(tokens: Tokens, session: Session, name: ObjectName) -> Result:
    """ALTER TABLE t DROP [COLUMN] a, b: one column a statement in DuckDB."""
    if tokens.word() in (*_CONSTRAINTS, "CLUSTERING"):
        return status()
    tokens.take("COLUMN")
    if_exists = "IF EXISTS " if tokens.take("IF", "EXISTS") else ""
    columns = tokens.names()
    if not columns:
        raise tokens.unexpected()
    session.kind_of(name)
    table = session.duck_name(name)
    session.change([f"ALTER TABLE {table} DROP COLUMN {if_exists}{quoted(column)}" for column in columns], name)
    return status()


def _swap(session: Session, one: ObjectName, other: ObjectName) -> Result:
    if one[:2] != other[:2]:
        raise unsupported("SWAP WITH a table of another schema")
    for name in (one, other):
        session.kind_of(name)
    session.change(
        [
            f"ALTER TABLE {quoted(*one)} RENAME TO {quoted(_SWAP_NAME)}",
            f"ALTER TABLE {quoted(*other)} RENAME TO {quoted(one[2])}",
            f"ALTER TABLE {quoted(*one[:2], _SWAP_NAME)} RENAME TO {quoted(other[2])}",
        ]
    )
    return status()
