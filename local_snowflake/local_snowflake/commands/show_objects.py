"""SHOW DATABASES, SCHEMAS, OBJECTS, TABLES and VIEWS, with LIKE, IN, STARTS WITH and LIMIT ... FROM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_snowflake.commands.patterns import like
from local_snowflake.commands.tokens import Tokens
from local_snowflake.errors import no_such_object
from local_snowflake.results import Result, text_result

if TYPE_CHECKING:
    from local_snowflake.session import Session

_MOST_ROWS = 10_000
_KIND_ONLY = {"TABLES": "TABLE", "VIEWS": "VIEW"}
_EPOCH = "1970-01-01"


@dataclass
class _Request:
    """Which objects are asked for."""

    what: str
    terse: bool
    database: str | None
    schema: str | None
    pattern: str | None = None
    starts_with: str | None = None
    after: str | None = None
    limit: int = _MOST_ROWS

    def wants(self, name: str) -> bool:
        return (
            like(self.pattern, name)
            and (self.starts_with is None or name.startswith(self.starts_with))
            and (self.after is None or name > self.after)
        )


def show(tokens: Tokens, session: Session, what: str, terse: bool) -> Result:
    request = _read(tokens, session, what, terse)
    _check_scope(request, session)
    if what == "DATABASES":
        columns, rows = _databases(session)
    elif what == "SCHEMAS":
        columns, rows = _schemas(request, session)
    else:
        columns, rows = _objects(request, session)
    wanted = [row for row in rows if request.wants(row[1])]  # the name is the second column of all of them
    return text_result(columns, wanted[: request.limit])


def _read(tokens: Tokens, session: Session, what: str, terse: bool) -> _Request:
    tokens.take("HISTORY")
    schema = None if what == "SCHEMAS" else session.schema
    request = _Request(what, terse, session.database, schema)
    if tokens.take("LIKE"):
        request.pattern = tokens.string()
    if tokens.take("IN"):
        request.database, request.schema = _scope(tokens, session, what)
    if tokens.take("STARTS", "WITH"):
        request.starts_with = tokens.string()
    if tokens.take("LIMIT"):
        limit = tokens.string()
        if not limit.isdigit():
            raise tokens.unexpected()
        request.limit = int(limit)
        if tokens.take("FROM"):
            request.after = tokens.string()
    return request


def _scope(tokens: Tokens, session: Session, what: str) -> tuple[str | None, str | None]:
    """IN ACCOUNT, IN DATABASE d, IN [SCHEMA] [d.]s, or IN d."""
    if tokens.take("ACCOUNT"):
        return None, None
    if tokens.take("DATABASE"):
        return tokens.part(), None
    is_schema = tokens.take("SCHEMA")
    name = tokens.name()
    if what == "SCHEMAS" or (len(name) == 1 and not is_schema and session.engine.catalog.has_database(name[0])):
        return name[0], None
    return (name[0], name[1]) if len(name) == 2 else (session.database, name[0])


def _check_scope(request: _Request, session: Session) -> None:
    catalog, database, schema = session.engine.catalog, request.database, request.schema
    if request.what == "DATABASES" or not database:
        return
    if not catalog.has_database(database):
        raise no_such_object()
    if request.what != "SCHEMAS" and schema and not catalog.has_schema(database, schema):
        raise no_such_object()


def _databases(session: Session) -> tuple[list[str], list[list[Any]]]:
    rows = [
        [_EPOCH, name, "N", "Y" if name == session.database else "N", "", "SYSADMIN", "", "", "1", "STANDARD"]
        for name in session.engine.catalog.databases()
    ]
    columns = ["created_on", "name", "is_default", "is_current", "origin", "owner", "comment", "options"]
    return [*columns, "retention_time", "kind"], rows


def _schemas(request: _Request, session: Session) -> tuple[list[str], list[list[Any]]]:
    schemas = session.engine.catalog.schemas(request.database)
    if request.terse:
        rows = [[_EPOCH, name, None, database, None] for database, name in schemas]
        return ["created_on", "name", "kind", "database_name", "schema_name"], rows
    current = (session.database, session.schema)
    rows = [
        [_EPOCH, name, "N", "Y" if (database, name) == current else "N", database, "SYSADMIN", "", "", "1"]
        for database, name in schemas
    ]
    columns = ["created_on", "name", "is_default", "is_current", "database_name", "owner", "comment", "options"]
    return [*columns, "retention_time"], rows


def _objects(request: _Request, session: Session) -> tuple[list[str], list[list[Any]]]:
    rows = []
    for item in session.engine.catalog.objects(request.database, request.schema):
        if item.kind != _KIND_ONLY.get(request.what, item.kind):
            continue
        database, schema, name = item.name
        row: list[str | None] = [item.created, name, item.kind, database, schema]
        if not request.terse:
            row_count = None if item.row_count is None else str(item.row_count)
            row += [item.comment or "", "", row_count, "0", "SYSADMIN", "1", "ROLE", "N", "N", "N"]
        rows.append(row)
    columns = ["created_on", "name", "kind", "database_name", "schema_name"]
    if not request.terse:
        columns += ["comment", "cluster_by", "rows", "bytes", "owner", "retention_time", "owner_role_type"]
        columns += ["is_hybrid", "is_dynamic", "is_iceberg"]
    return columns, rows
