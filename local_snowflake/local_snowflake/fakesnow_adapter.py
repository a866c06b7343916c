"""The one place that reaches into fakesnow's private cursor: its list of transforms, and its check for a database.

fakesnow offers its SQL translation only as a method of its cursor, which copies the tree for every one of about seventy
transforms. Here the list is recorded once a statement and run in place, without the transforms that this package does
itself. `tests/test_local_snowflake_adapter.py` fails when a release of fakesnow moves any of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import fakesnow.transforms as transforms
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.variables import Variables
from sqlglot import exp

REPLACED = {
    transforms.create_clone,
    transforms.create_table_as,
    transforms.alter_session,
    transforms.extract_comment_on_columns,
    transforms.current_version,
    transforms.create_user,
}
"""Transforms of fakesnow's that `rewrites` and `commands` take the place of."""


@dataclass
class ConnectionState:
    """What fakesnow's cursor reads of its connection."""

    database: str | None
    schema: str | None
    db_path: Path
    variables: Variables = field(default_factory=Variables)

    @property
    def database_set(self) -> bool:
        return self.database is not None

    @property
    def schema_set(self) -> bool:
        return self.schema is not None


class _Recorder:
    """Stands in for a tree while fakesnow chains its transforms, and writes them down."""

    def __init__(self) -> None:
        self.steps: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def transform(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> _Recorder:
        self.steps.append((step, args, kwargs))
        return self


def check_database_and_schema(state: ConnectionState, duck: duckdb.DuckDBPyConnection, tree: exp.Expr) -> None:
    """Refuse a statement that needs a current database or schema in a session that has none (90105, 90106)."""
    _cursor(state, duck).check_db_and_schema(tree)


def to_duckdb(state: ConnectionState, duck: duckdb.DuckDBPyConnection, tree: exp.Expr, parameters: Any) -> exp.Expr:
    """The DuckDB tree of a Snowflake statement; the tree that is given is used up."""
    recorder = _Recorder()
    _cursor(state, duck)._transform(recorder, parameters)  # type: ignore[arg-type]
    for step, args, kwargs in recorder.steps:
        if step in REPLACED:
            continue
        tree = tree.transform(step, *args, copy=False, **kwargs)
        if tree is transforms.SUCCESS_NOP:
            tree = tree.copy()  # a constant of fakesnow's, which the next steps would change for everyone
    return tree


def _cursor(state: ConnectionState, duck: duckdb.DuckDBPyConnection) -> FakeSnowflakeCursor:
    return FakeSnowflakeCursor(state, duck)  # type: ignore[arg-type]
