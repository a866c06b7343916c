"""Arithmetic that DuckDB does otherwise: division by zero, RATIO_TO_REPORT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from local_snowflake.rewrites.tree import arguments, call, function_name, replace_each, text

if TYPE_CHECKING:
    from local_snowflake.statements import Statement

_ZERO = exp.Literal.number(0)


def division_by_zero(tree: exp.Expr, _: Statement) -> exp.Expr:
    """a / b is an error when b is 0, where DuckDB gives infinity; a divisor that can't be 0 stays as it is."""
    for division in reversed(list(tree.find_all(exp.Div))):
        divisor = division.expression
        never_zero = isinstance(divisor, exp.Nullif | exp.Case | exp.If) or (
            isinstance(divisor, exp.Literal) and not divisor.is_string and float(divisor.this or 0) != 0
        )
        if never_zero:
            continue
        is_zero = exp.EQ(this=divisor.copy(), expression=_ZERO.copy())
        error = exp.If(this=is_zero, true=call("error", text("Division by zero")))
        division.set("expression", exp.Case(ifs=[error], default=divisor.copy()))
    return tree


def ratio_to_report(tree: exp.Expr, _: Statement) -> exp.Expr:
    """RATIO_TO_REPORT(x) OVER (w) as x / SUM(x) OVER (w)."""

    def one(window: exp.Window) -> exp.Expr | None:
        function = window.this
        if not isinstance(function, exp.Func) or function_name(function) != "RATIO_TO_REPORT":
            return None
        value = exp.cast(arguments(function)[0].copy(), "DOUBLE")
        total = window.copy()
        total.set("this", exp.Sum(this=value.copy()))
        divisor = exp.Nullif(this=total, expression=_ZERO.copy())
        return exp.Paren(this=exp.Div(this=value, expression=divisor, typed=False, safe=False))

    return replace_each(tree, (exp.Window,), one)
