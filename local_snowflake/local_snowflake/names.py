"""Names of objects: from sqlglot's identifiers to Snowflake's upper case, and back into quoted SQL.

Snowflake folds unquoted identifiers to upper case and keeps quoted ones; every name in this package is in that form.
"""

from __future__ import annotations

from sqlglot import exp

ObjectName = tuple[str, str, str]
"""Database, schema and name; a part that is not known is an empty string."""


def identifier_text(identifier: exp.Expr | str | None) -> str:
    """What an identifier stands for: as written when it is quoted, else in upper case."""
    if identifier is None:
        return ""
    if isinstance(identifier, str):
        return identifier.upper()
    return identifier.this if identifier.args.get("quoted") else str(identifier.this).upper()


def object_name(table: exp.Table, database: str | None, schema: str | None) -> ObjectName:
    """The full name of a table in a statement; parts that it leaves out are the session's."""
    return (
        identifier_text(table.args.get("catalog")) or database or "",
        identifier_text(table.args.get("db")) or schema or "",
        identifier_text(table.this),
    )


def quoted(*parts: str) -> str:
    """A dotted name with every part in double quotes."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def sql_text(text: str | None) -> str:
    """A string literal of DuckDB's, or NULL."""
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"
