"""Comments on tables, views and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_snowflake.commands.tokens import Tokens
from local_snowflake.errors import unsupported
from local_snowflake.names import ObjectName, quoted, sql_text
from local_snowflake.results import Result, status

if TYPE_CHECKING:
    from local_snowflake.session import Session


def comment(tokens: Tokens, session: Session) -> Result:
    """COMMENT [IF EXISTS] ON kind name IS 'text'; on a schema or database it is accepted and not kept."""
    tokens.take("IF", "EXISTS")
    tokens.expect("ON")
    kind = tokens.part()
    if kind not in ("TABLE", "VIEW", "SCHEMA", "DATABASE", "COLUMN"):
        raise unsupported(f"COMMENT ON {kind}")
    if kind == "COLUMN":
        *table, column = _dotted(tokens)
        tokens.expect("IS")
        set_comments(session, session.resolve(table), {column: tokens.string()})
        return status()
    name = tokens.name()
    tokens.expect("IS")
    text = tokens.string()
    if kind in ("TABLE", "VIEW"):
        set_comments(session, session.resolve(name), text)
    return status()


def _dotted(tokens: Tokens) -> list[str]:
    """A column's name, which has up to four parts."""
    parts = [tokens.part()]
    while tokens.take("."):
        parts.append(tokens.part())
    return parts


def set_comments(session: Session, name: ObjectName, comments: str | dict[str, str]) -> None:
    """Comment an object, or some of its columns; an empty text takes the comment away.

    Raises:
        SqlError: 2003, there is no such object.
    """
    kind, target = session.kind_of(name), session.duck_name(name)
    if isinstance(comments, str):
        statements = [f"COMMENT ON {kind} {target} IS {sql_text(comments or None)}"]
    else:
        statements = [
            f"COMMENT ON COLUMN {target}.{quoted(column)} IS {sql_text(text or None)}"
            for column, text in comments.items()
        ]
    session.change(statements)
