"""Session variables: SET name = expression, and $name in a statement's text.

fakesnow replaces $name inside of strings too, so a price in a seed would be taken for a variable; here it is replaced
only outside of strings, quoted names, comments and $$...$$.
"""

from __future__ import annotations

import re

import duckdb
from sqlglot import exp

from local_snowflake.errors import SqlError

_SKIPPED_OR_VARIABLE = re.compile(
    r"'(?:[^'\\]|\\.|'')*'"  # a string
    r'|"[^"]*"'  # a quoted name
    r"|\$\$.*?\$\$"  # a dollar-quoted string
    r"|--[^\n]*|/\*.*?\*/"  # comments
    r"|(?<![\w$])\$([A-Za-z_]\w*)",  # the only alternative with a group: a variable
    re.DOTALL,
)


def replace_variables(sql: str, variables: dict[str, str]) -> str:
    """The statement with each $name replaced by the SQL of its value.

    Raises:
        SqlError: 2211, a variable is not set.
    """
    if "$" not in sql:
        return sql

    def one(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        name = found[1].upper()
        if name not in variables:
            raise SqlError(
                2211,
                "02000",
                f"SQL compilation error: error line 1 at position {found.start()}\n"
                f"Session variable '${name}' does not exist",
            )
        return variables[name]

    return _SKIPPED_OR_VARIABLE.sub(one, sql)


def assign(tree: exp.Set, variables: dict[str, str], duck: duckdb.DuckDBPyConnection) -> None:
    """Carry out SET: evaluate each expression and keep its value as a Snowflake literal."""
    for item in tree.expressions:
        row = duck.execute(f"select {item.this.expression.sql('duckdb')}").fetchone()
        value = row[0] if row else None
        variables[item.this.this.name.upper()] = exp.convert(value).sql("snowflake")
