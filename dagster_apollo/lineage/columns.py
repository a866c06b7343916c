"""Which columns of which tables a model's columns are made of, read from its compiled SQL.

OpenLineage's own parser reads it. It does not look through `select *`, in which most dbt models end, so sqlglot, which
dagster-dbt brings, names the columns first as far as those of the parents are known. Nothing here asks a warehouse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import openlineage_sql
import sqlglot
from sqlglot import exp
from sqlglot.optimizer.qualify import qualify

Table = tuple[str, str, str]
# A statement of more characters than this is not taken apart: the time it takes grows faster than its length.
_LONGEST_SQL = 200_000


@dataclass(frozen=True)
class Origin:
    """A column that another is made of.

    Attributes:
        table: database, schema and name of its table, in lower case; empty where the statement leaves them out.
        column: its name.
    """

    table: Table
    column: str


def column_origins(
    sql: str, dialect: str | None, known: Mapping[Table, Sequence[str]]
) -> dict[str, tuple[Origin, ...]]:
    """The columns that a statement selects, in order, each with those that it is made of.

    Args:
        sql: one statement.
        dialect: dbt's name of the warehouse; sqlglot's and OpenLineage's names are the same where they know it.
        known: the columns of tables that it may read, by the table's name in lower case.

    Returns:
        By the column's name; empty where the statement cannot be read.
    """
    if len(sql) > _LONGEST_SQL:
        return {}
    spelt_out, names = _with_columns_named(sql, dialect, known)
    try:
        parsed = openlineage_sql.parse([spelt_out], dialect=dialect)
    except Exception:  # what it raises is its own and of no class of its own
        return {}
    if parsed is None:
        return {}
    tables = {_table(table) for table in parsed.in_tables}
    found = {
        line.descendant.name: tuple(
            Origin(_table(column.origin), column.name)
            for column in line.lineage
            if column.origin and _table(column.origin) in tables
        )
        for line in parsed.column_lineage
    }
    return {name: found.get(name, ()) for name in names or sorted(found)}


def _table(table: openlineage_sql.DbTableMeta) -> Table:
    return ((table.database or "").lower(), (table.schema or "").lower(), table.name.lower())


def _with_columns_named(sql: str, dialect: str | None, known: Mapping[Table, Sequence[str]]) -> tuple[str, list[str]]:
    """The statement with its stars replaced by names, and the names that it selects; as it was where that fails."""
    schema: dict[str, Any] = {}
    for (database, namespace, name), columns in known.items():
        schema.setdefault(database, {}).setdefault(namespace, {})[name] = dict.fromkeys(columns, "unknown")
    try:
        statement = _without_passages(sqlglot.parse_one(sql, dialect=dialect))
        named = qualify(
            statement, schema=schema, dialect=dialect, validate_qualify_columns=False, quote_identifiers=False
        )
        names = [] if named.is_star else list(named.named_selects)  # type: ignore[attr-defined]
        return named.sql(dialect=dialect), names
    except Exception:  # whatever a parser stumbles over: the other one may not
        return sql, []


def _without_passages(statement: exp.Expr) -> exp.Expr:
    """`with source as (select * from raw.orders)` taken out, `raw.orders` put wherever `source` stood.

    So begin most staging models, over a source whose columns nobody has written down.
    """
    for cte in list(statement.find_all(exp.CTE)):
        body = cte.this
        source = body.args.get("from_") or body.args.get("from") if isinstance(body, exp.Select) else None
        if source is None or not isinstance(source.this, exp.Table) or body.args.get("joins"):
            continue
        if [type(column) for column in body.expressions] != [exp.Star] or body.expressions[0].args.get("except_"):
            continue
        if body.expressions[0].args.get("replace") or body.expressions[0].args.get("except"):
            continue
        name, table = cte.alias, source.this
        for reader in list(statement.find_all(exp.Table)):
            if reader.name.lower() == name.lower() and not reader.db and reader is not table:
                replaced = table.copy()
                replaced.set("alias", exp.TableAlias(this=exp.to_identifier(reader.alias or name)))
                replaced.set("joins", reader.args.get("joins"))
                reader.replace(replaced)
        holder = cte.parent
        cte.pop()
        if isinstance(holder, exp.With) and not holder.expressions:
            holder.pop()
    return statement
