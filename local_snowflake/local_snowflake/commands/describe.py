"""DESCRIBE of a table, a view or a user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_snowflake import catalog_sql
from local_snowflake.account import KEY_SLOTS
from local_snowflake.commands.tokens import Tokens
from local_snowflake.errors import unsupported
from local_snowflake.results import Result, text_result

if TYPE_CHECKING:
    from local_snowflake.session import Session

_SNOWFLAKE_TYPES = {
    "BIGINT": "NUMBER(38,0)",
    "INTEGER": "NUMBER(38,0)",
    "HUGEINT": "NUMBER(38,0)",
    "SMALLINT": "NUMBER(38,0)",
    "TINYINT": "NUMBER(38,0)",
    "UBIGINT": "NUMBER(38,0)",
    "UINTEGER": "NUMBER(38,0)",
    "DOUBLE": "FLOAT",
    "FLOAT": "FLOAT",
    "TIMESTAMP": "TIMESTAMP_NTZ(9)",
    "TIMESTAMP_NS": "TIMESTAMP_NTZ(9)",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP_TZ(9)",
    "TIME": "TIME(9)",
    "JSON": "VARIANT",
    "BLOB": "BINARY(8388608)",
}
_LONGEST_TEXT = 16777216


def describe(tokens: Tokens, session: Session) -> Result:
    kind = tokens.take_one_of("USER", "TABLE", "VIEW")
    if kind == "USER":
        return _user(tokens.part(), session)
    if kind is None and tokens.word(1) not in ("", "."):
        raise unsupported(f"DESCRIBE {tokens.word()}")
    return _table(tokens.name(), session)


def _user(name: str, session: Session) -> Result:
    user = session.engine.account.user(name)
    rows: list[list[str | None]] = [["NAME", name, None, "Name"]]
    for slot in KEY_SLOTS:
        key = user.keys.get(slot)
        rows.append([slot, key.der if key else None, None, "RSA public key of the user"])
        rows.append([f"{slot}_FP", key.fingerprint if key else None, None, "Fingerprint of the public key"])
    rows += [[key, str(value), None, ""] for key, value in user.properties.items()]
    return text_result(["property", "value", "default", "description"], rows)


def _table(parts: list[str], session: Session) -> Result:
    name = session.resolve(parts)
    session.kind_of(name)
    stored = ("temp", "main", ".".join(name)) if name in session.temporary else name
    columns = session.duck.execute(catalog_sql.COLUMNS, list(stored)).fetchall()
    rows = [
        [
            *(column, snowflake_type(duck_type, length), "COLUMN", "Y" if nullable else "N", default),
            *("N", "N", None, None, comment, None),
        ]
        for column, duck_type, nullable, default, comment, length in columns
    ]
    headings = ["name", "type", "kind", "null?", "default", "primary key", "unique key"]
    return text_result([*headings, "check", "expression", "comment", "policy name"], rows)


def snowflake_type(duck_type: str, text_length: int | None = None) -> str:
    """Snowflake's name of a DuckDB column type."""
    if duck_type.startswith("DECIMAL"):
        return duck_type.replace("DECIMAL", "NUMBER", 1)
    if duck_type == "VARCHAR":
        return f"VARCHAR({text_length or _LONGEST_TEXT})"
    if duck_type.endswith("[]") or duck_type.startswith(("STRUCT", "MAP")):
        return "VARIANT"
    return _SNOWFLAKE_TYPES.get(duck_type, duck_type)
