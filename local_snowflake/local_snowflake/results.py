"""The result of a statement inside the server: named columns with DuckDB's types, and an Arrow table.

How it is written for the connector stands in `encoding`; the results that RESULT_SCAN may ask for are kept here.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

MULTI_JOINED = "number of multi-joined rows updated"


@dataclass
class Result:
    columns: list[tuple[str, str]]
    """Name and DuckDB type of each column."""
    table: pa.Table
    type_id: int = 0
    """Snowflake's statement type, which tells the connector whether it is a row count."""
    query_id: str = field(default_factory=lambda: str(uuid.uuid4()))


def text_result(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Result:
    """A result of text columns, as SHOW and DESCRIBE give."""
    arrays = [
        pa.array([None if row[i] is None else str(row[i]) for row in rows], pa.string()) for i in range(len(columns))
    ]
    return Result([(name, "VARCHAR") for name in columns], pa.Table.from_arrays(arrays, names=list(columns)))


def status(text: str = "Statement executed successfully.") -> Result:
    return text_result(["status"], [[text]])


def row_counts(counts: dict[str, int]) -> Result:
    """What DML answers: one row with a count in each column."""
    table = pa.Table.from_arrays([pa.array([count]) for count in counts.values()], names=list(counts))
    return Result([(name, "BIGINT") for name in counts], table)


class RecentResults:
    """The last results of an account by query id, bounded by number and by size."""

    def __init__(self, most: int = 50, most_bytes: int = 256 * 1024 * 1024) -> None:
        self.most, self.most_bytes = most, most_bytes
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, result: Result) -> None:
        with self._lock:
            self._results[result.query_id] = result
            size = sum(kept.table.nbytes for kept in self._results.values())
            while len(self._results) > self.most or (size > self.most_bytes and len(self._results) > 1):
                _, dropped = self._results.popitem(last=False)
                size -= dropped.table.nbytes

    def get(self, query_id: str) -> Result | None:
        return self._results.get(query_id)
