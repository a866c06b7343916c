"""Snowflake SQL as dbt and analysts write it, made fit for fakesnow and DuckDB: one function for one difference.

Each takes the tree and the statement it belongs to, and gives the tree; they run in the order of `REWRITES`, before
fakesnow's own transforms. What becomes several statements stands in `parts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from local_snowflake.rewrites import dates, functions, numbers, queries, semi_structured, session_values, tables

if TYPE_CHECKING:
    from local_snowflake.statements import Statement

REWRITES: list[Callable[[exp.Expr, Statement], exp.Expr]] = [
    queries.name_columns,  # first: the names are made of the client's own text
    tables.refuse_unsupported,
    tables.drop_options,
    tables.clone_as_select,
    session_values.context_functions,
    tables.temporary_objects,
    queries.positions_of_values,
    dates.format_dates_and_numbers,
    dates.difference_arguments,
    numbers.ratio_to_report,
    session_values.sequence_names,
    numbers.division_by_zero,
    dates.intervals,
    queries.asof_join,
    semi_structured.flatten_options,
    functions.single_functions,
    queries.result_scans,
]


def rewrite(tree: exp.Expr, statement: Statement) -> exp.Expr:
    for step in REWRITES:
        tree = step(tree, statement)
    return tree
