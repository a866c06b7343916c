"""Statements that are answered without translating SQL: USE, SHOW, GRANT, ALTER SESSION, transactions, comments.

They are read by their tokens. A command that is not one of these, or goes on in a way that is SQL's, gives None, and
the statement is then parsed as SQL by `statements`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from local_snowflake.commands import alter, comment, context, describe, grants, objects, show
from local_snowflake.commands.tokens import Tokens
from local_snowflake.errors import unsupported
from local_snowflake.results import Result

if TYPE_CHECKING:
    from local_snowflake.session import Session

Command = Callable[[Tokens, "Session"], Result | None]

COMMANDS: dict[str, Command] = {
    "BEGIN": context.begin,
    "START": context.begin,
    "COMMIT": context.commit,
    "ROLLBACK": context.rollback,
    "USE": context.use,
    "UNSET": context.unset,
    "ALTER": alter.alter,
    "COMMENT": comment.comment,
    "CREATE": objects.create,
    "DROP": objects.drop,
    "DESC": describe.describe,
    "DESCRIBE": describe.describe,
    "GRANT": grants.grant,
    "REVOKE": grants.revoke,
    "SHOW": show.show,
}
REFUSED = ("CALL", "EXECUTE", "UNDROP", "EXPLAIN", "DECLARE", "LIST", "LS", "PUT", "GET", "REMOVE", "RM", "COPY")

_BEFORE = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|//[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)


def run(sql: str, session: Session) -> Result | None:
    """The result, when the statement is a command.

    Raises:
        SqlError: it can't be done, or is refused by its name.
    """
    before = _BEFORE.match(sql)
    first = re.match(r"[A-Za-z]+", sql[before.end() if before else 0 :])
    word = first[0].upper() if first else ""
    if word in REFUSED:
        raise unsupported(word)
    if word not in COMMANDS:
        return None
    tokens = Tokens(sql)
    tokens.part()
    return COMMANDS[word](tokens, session)
