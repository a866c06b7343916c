"""Functions whose value is the session's own: CURRENT_ROLE() and its like, and sequences by their full name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from local_snowflake.names import identifier_text, quoted
from local_snowflake.rewrites.tree import call, function_name, replace_each, text

if TYPE_CHECKING:
    from local_snowflake.statements import Statement


def context_functions(tree: exp.Expr, statement: Statement) -> exp.Expr:
    """CURRENT_WAREHOUSE() and friends as literals; DuckDB has none of them, or its own."""
    session = statement.session
    values = session.context_values()

    def one(node: exp.Func) -> exp.Expr | None:
        name = function_name(node)
        if name in values:
            value = text(values[name])
            return exp.alias_(value, f"{name}()", quoted=True) if isinstance(node.parent, exp.Select) else value
        if name == "SYSTEM$CANCEL_ALL_QUERIES":
            session.engine.cancel(node.expressions[0].name if node.expressions else "")
            return text("0 statements cancelled.")
        if name == "SYSTEM$TYPEOF":
            return call("typeof", *node.expressions)
        return None

    return replace_each(tree, (exp.Func,), one)


def sequence_names(tree: exp.Expr, statement: Statement) -> exp.Expr:
    """db.schema.seq.NEXTVAL with all of its parts; fakesnow keeps the last name only."""

    def one(column: exp.Column) -> exp.Expr | None:
        if identifier_text(column.this) != "NEXTVAL" or not column.table:
            return None
        given = [identifier_text(column.args[key]) for key in ("catalog", "db", "table") if column.args.get(key)]
        value = call("nextval", text(quoted(*statement.session.resolve(given))))
        return exp.alias_(value, "NEXTVAL", quoted=True) if isinstance(column.parent, exp.Select) else value

    return replace_each(tree, (exp.Column,), one)
