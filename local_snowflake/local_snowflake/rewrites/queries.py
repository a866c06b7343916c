"""Differences in the shape of a query: names of columns, $1 of VALUES, ASOF JOIN, RESULT_SCAN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from local_snowflake.rewrites.tree import replace_each

if TYPE_CHECKING:
    from local_snowflake.statements import Statement


def name_columns(tree: exp.Expr, _: Statement) -> exp.Expr:
    """An output column without a name is called by its own text in upper case: COUNT(*), SUM(X)."""
    makes_object = isinstance(tree, exp.Create) and tree.kind in ("TABLE", "VIEW")
    query = tree.expression if makes_object else tree
    while isinstance(query, exp.Subquery | exp.SetOperation):
        query = query.this
    if isinstance(query, exp.Select):
        query.set("expressions", [_named(column) for column in query.expressions])
    return tree


def _named(column: exp.Expr) -> exp.Expr:
    has_name = isinstance(column, exp.Alias | exp.Aliases | exp.Column | exp.Star | exp.Dot) or column.is_star
    if has_name or (not column.args and not isinstance(column, exp.Func)):
        return column
    return exp.alias_(column, column.sql("snowflake", comments=False).upper(), quoted=True)


def positions_of_values(tree: exp.Expr, _: Statement) -> exp.Expr:
    """select $1, t.$2 from values (...): by the names that DuckDB gives them here, COLUMN1 and COLUMN2."""

    def one(parameter: exp.Parameter) -> exp.Expr | None:
        name = parameter.this.name if isinstance(parameter.this, exp.Expr) else str(parameter.this)
        return exp.column(exp.to_identifier(f"COLUMN{name}", quoted=True)) if name.isdigit() else None

    return replace_each(tree, (exp.Parameter,), one)


def asof_join(tree: exp.Expr, _: Statement) -> exp.Expr:
    """ASOF JOIN ... MATCH_CONDITION (c) [ON d] as DuckDB's ASOF JOIN ... ON c [AND d]."""
    for join in tree.find_all(exp.Join):
        if condition := join.args.get("match_condition"):
            join.set("match_condition", None)
            join.set("on", exp.and_(condition, join.args["on"]) if join.args.get("on") else condition)
    return tree


def result_scans(tree: exp.Expr, statement: Statement) -> exp.Expr:
    """TABLE(RESULT_SCAN('id')) as a relation of the kept result; fakesnow gives all of it, whatever is selected."""

    def one(rows: exp.TableFromRows) -> exp.Expr | None:
        function = rows.this
        if not (isinstance(function, exp.Anonymous) and function.name.upper() == "RESULT_SCAN"):
            return None
        query_id = function.expressions[0].name if function.expressions else ""
        relation = statement.session.result_relation(query_id)
        return exp.Table(this=exp.to_identifier(relation, quoted=True), alias=rows.args.get("alias"))

    return replace_each(tree, (exp.TableFromRows,), one)
