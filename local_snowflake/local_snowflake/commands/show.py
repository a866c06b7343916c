"""SHOW of parameters, grants, roles, warehouses and users; `show_objects` has databases, schemas, tables and views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_snowflake.commands import show_objects
from local_snowflake.commands.grants import take_object
from local_snowflake.commands.patterns import like
from local_snowflake.commands.tokens import Tokens
from local_snowflake.results import Result, text_result

if TYPE_CHECKING:
    from local_snowflake.session import Session

EPOCH = "1970-01-01"
"""The creation time of what none is kept of."""
_PARAMETERS = {
    "AUTOCOMMIT": ("true", "BOOLEAN"),
    "CLIENT_SESSION_KEEP_ALIVE": ("false", "BOOLEAN"),
    "DATE_OUTPUT_FORMAT": ("YYYY-MM-DD", "STRING"),
    "ERROR_ON_NONDETERMINISTIC_MERGE": ("true", "BOOLEAN"),
    "LOCK_TIMEOUT": ("43200", "NUMBER"),
    "MULTI_STATEMENT_COUNT": ("1", "NUMBER"),
    "QUERY_TAG": ("", "STRING"),
    "QUOTED_IDENTIFIERS_IGNORE_CASE": ("false", "BOOLEAN"),
    "STATEMENT_TIMEOUT_IN_SECONDS": ("172800", "NUMBER"),
    "TIMESTAMP_TYPE_MAPPING": ("TIMESTAMP_NTZ", "STRING"),
    "TIMEZONE": ("Etc/UTC", "STRING"),
    "WEEK_START": ("0", "NUMBER"),
}


def show(tokens: Tokens, session: Session) -> Result | None:
    """The result of a SHOW; None for the kinds that fakesnow answers."""
    terse = tokens.take("TERSE")
    if tokens.take("PARAMETERS"):
        return _parameters(tokens, session)
    if tokens.take("GRANTS"):
        return _grants(tokens, session)
    if tokens.take("ROLES"):
        rows = [[EPOCH, role, "N", _flag(role == session.role)] for role in session.engine.account.roles]
        return text_result(["created_on", "name", "is_default", "is_current"], rows)
    if tokens.take("WAREHOUSES"):
        return _warehouses(session)
    if tokens.take("USERS"):
        return _users(session)
    if kind := tokens.take_one_of("OBJECTS", "TABLES", "VIEWS", "SCHEMAS", "DATABASES"):
        return show_objects.show(tokens, session, kind, terse)
    return None


def _parameters(tokens: Tokens, session: Session) -> Result:
    pattern = tokens.string() if tokens.take("LIKE") else None
    known = {**dict.fromkeys(session.parameters, ("", "STRING")), **_PARAMETERS}
    rows = []
    for name, (default, kind) in sorted(known.items()):
        if like(pattern, name):
            value = session.parameters.get(name)
            shown, level = (default, "") if value is None else (str(value), "SESSION")
            rows.append([name, shown, default, level, "", kind])
    return text_result(["key", "value", "default", "level", "description", "type"], rows)


def _grants(tokens: Tokens, session: Session) -> Result:
    account = session.engine.account
    grants, owner = account.grants, []
    if tokens.take("ON"):
        kind, name = take_object(tokens, session)
        grants = [grant for grant in grants if grant.object == name]
        if kind in ("TABLE", "VIEW"):
            owner = [[EPOCH, "OWNERSHIP", kind, name, "ROLE", "SYSADMIN", "true", "SYSADMIN"]]
    elif tokens.take("TO"):
        grantee, name = tokens.part(), tokens.part()
        if grantee == "USER":
            rows = [[EPOCH, role, "USER", name, "ACCOUNTADMIN"] for role in account.user(name).roles]
            return text_result(["created_on", "role", "granted_to", "grantee_name", "granted_by"], rows)
        grants = [grant for grant in grants if grant.role == name]
    given = [
        [EPOCH, grant.privilege, grant.kind, grant.object, "ROLE", grant.role, "false", grant.granted_by]
        for grant in grants
    ]
    headings = ["created_on", "privilege", "granted_on", "name", "granted_to", "grantee_name", "grant_option"]
    return text_result([*headings, "granted_by"], owner + given)


def _warehouses(session: Session) -> Result:
    rows = [
        [
            name,
            "STARTED",
            "STANDARD",
            properties.get("WAREHOUSE_SIZE", "X-Small"),
            "N",
            _flag(name == session.warehouse),
        ]
        for name, properties in session.engine.account.warehouses.items()
    ]
    return text_result(["name", "state", "type", "size", "is_default", "is_current"], rows)


def _users(session: Session) -> Result:
    rows = [
        [
            name,
            name,
            str(user.disabled).lower(),
            user.properties.get("DEFAULT_ROLE"),
            "false",
            str(bool(user.keys)).lower(),
        ]
        for name, user in session.engine.account.users.items()
    ]
    headings = ["name", "login_name", "disabled", "default_role", "has_password", "has_rsa_public_key"]
    return text_result(headings, rows)


def _flag(true: bool) -> str:
    return "Y" if true else "N"
