"""GRANT and REVOKE: of roles they decide who may log in with one, of privileges they are kept and shown only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_snowflake.account import Grant
from local_snowflake.commands.tokens import Tokens
from local_snowflake.results import Result, status

if TYPE_CHECKING:
    from local_snowflake.session import Session

OBJECT_KINDS = ("TABLE", "VIEW", "SCHEMA", "DATABASE", "WAREHOUSE", "ACCOUNT")
_ALL_PRIVILEGES = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES"]


def grant(tokens: Tokens, session: Session) -> Result:
    return _change(tokens, session, granted=True)


def revoke(tokens: Tokens, session: Session) -> Result:
    return _change(tokens, session, granted=False)


def _change(tokens: Tokens, session: Session, granted: bool) -> Result:
    account = session.engine.account
    if tokens.take("ROLE"):
        role = tokens.part()
        tokens.take_one_of("TO", "FROM")
        to_user = tokens.part() == "USER"
        name = tokens.part()
        account.change_role_grant(
            role, user=name if to_user else None, to_role=None if to_user else name, grant=granted
        )
        return status()
    tokens.take("GRANT", "OPTION", "FOR")
    privileges = _privileges(tokens)
    if tokens.word() in ("ALL", "FUTURE"):  # on all or future objects: nothing is enforced, so nothing to keep
        return status()
    kind, name = take_object(tokens, session)
    tokens.take_one_of("TO", "FROM")
    tokens.take("ROLE")
    role = tokens.part()
    account.require_role(role)
    grants = [Grant(privilege, kind, name, role, session.role) for privilege in privileges]
    account.change_grants(grants, granted)
    return status()


def _privileges(tokens: Tokens) -> list[str]:
    """The privileges up to ON, each of one or more words."""
    phrases: list[list[str]] = [[]]
    while not tokens.take("ON"):
        word = tokens.part()
        if word == ",":
            phrases.append([])
        else:
            phrases[-1].append(word)
    named = [" ".join(phrase) for phrase in phrases]
    return [one for name in named for one in (_ALL_PRIVILEGES if name in ("ALL", "ALL PRIVILEGES") else [name])]


def take_object(tokens: Tokens, session: Session) -> tuple[str, str]:
    """Take the object of a grant: its kind, and its name in full.

    Raises:
        SqlError: 2003, there is no such table or view.
    """
    kind = "TABLE"
    if tokens.word() in (*OBJECT_KINDS, "DYNAMIC", "SEQUENCE", "FUNCTION") and tokens.word(1) != ".":
        kind = tokens.part()
        if kind == "DYNAMIC":
            tokens.take("TABLE")
    if kind == "ACCOUNT":
        return kind, ""
    parts = tokens.name()
    if kind not in ("TABLE", "VIEW"):
        return kind, ".".join(parts)
    name = session.resolve(parts)
    return session.kind_of(name), ".".join(name)
