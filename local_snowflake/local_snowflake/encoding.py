"""A result as the connector reads it: Snowflake's row type, and the rows as base64 of an Arrow stream or as JSON.

Types that Snowflake has no word for go out as text or as JSON. fakesnow's own encoder writes NULL timestamps as 1970,
so timestamps are encoded here.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from fakesnow.arrow import to_sf_schema
from fakesnow.rowtype import describe_as_rowtype
from fakesnow.statement_type import DML_TYPE_IDS

from local_snowflake.results import Result

_KNOWN = {
    "BIGINT",
    "BLOB",
    "BOOLEAN",
    "DATE",
    "DOUBLE",
    "HUGEINT",
    "INTEGER",
    "JSON",
    "TIME",
    "TIMESTAMP WITH TIME ZONE",
    "TIMESTAMP_NS",
    "TIMESTAMP",
    "UBIGINT",
    "VARCHAR",
}
_WIDENED = {
    "TINYINT": ("INTEGER", pa.int32()),
    "SMALLINT": ("INTEGER", pa.int32()),
    "UTINYINT": ("INTEGER", pa.int32()),
    "USMALLINT": ("INTEGER", pa.int32()),
    "UINTEGER": ("BIGINT", pa.int64()),
    "FLOAT": ("DOUBLE", pa.float64()),
    "TIMESTAMP_S": ("TIMESTAMP", pa.timestamp("us")),
    "TIMESTAMP_MS": ("TIMESTAMP", pa.timestamp("us")),
    "TIME_NS": ("TIME", pa.time64("us")),
}
_MINUTES_OF_UTC = 1440
"""Snowflake writes a time zone as minutes from UTC, plus 1440."""


def encode(result: Result) -> dict[str, Any]:
    """The part of a query's answer that is the result: rowtype, counts and rows."""
    columns, arrays = [], []
    for (name, duck_type), column in zip(result.columns, result.table.columns, strict=True):
        array, shown_type = _presentable(_one_chunk(column), duck_type)
        columns.append((name, shown_type, None, None, None, None))
        arrays.append(array)
    table = pa.Table.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))])
    rowtype = describe_as_rowtype(columns)
    answer: dict[str, Any] = {"rowtype": rowtype, "total": table.num_rows, "returned": table.num_rows}
    if result.type_id in DML_TYPE_IDS:
        rows = zip(*[column.to_pylist() for column in table.columns], strict=True)
        rowset = [[None if value is None else str(value) for value in row] for row in rows]
        return answer | {"queryResultFormat": "json", "rowset": rowset}
    return answer | {"queryResultFormat": "arrow", "rowsetBase64": _arrow_stream(table, rowtype)}


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


def _presentable(array: pa.Array, duck_type: str) -> tuple[pa.Array, str]:
    """The column in a type that Snowflake has, and the DuckDB name of that type."""
    if duck_type == "TIMESTAMP_NS":
        return array.cast(pa.timestamp("us"), safe=False), "TIMESTAMP"
    if duck_type == "TIMESTAMP WITH TIME ZONE":
        return array.cast(pa.timestamp("us", tz="UTC")), duck_type
    if duck_type == "INTEGER" and pa.types.is_null(array.type):
        return array.cast(pa.int32()), duck_type
    if duck_type.startswith("DECIMAL") or duck_type in _KNOWN:
        return array, duck_type
    if duck_type in _WIDENED:
        shown_type, arrow_type = _WIDENED[duck_type]
        return array.cast(arrow_type), shown_type
    if duck_type.endswith("]") or duck_type.startswith(("STRUCT", "MAP", "UNION")):
        texts = [None if value is None else json.dumps(_plain(value), default=str) for value in array.to_pylist()]
        return pa.array(texts, pa.string()), "JSON"
    return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string()), "VARCHAR"


def _plain(value: Any) -> Any:
    """A nested value as JSON has it; Arrow gives a map as a list of pairs."""
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return {key: _plain(item) for key, item in value}
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)


def _arrow_stream(table: pa.Table, rowtype: list[Any]) -> str:
    if table.num_rows == 0:
        return ""
    arrays = []
    for column in table.columns:
        array = _one_chunk(column)
        if pa.types.is_timestamp(array.type):
            array = _timestamp_struct(array)
        elif pa.types.is_time(array.type):
            array = pc.multiply(array.cast(pa.int64()), 1000)
        arrays.append(array)
    encoded = pa.Table.from_arrays(arrays, schema=to_sf_schema(table.schema, rowtype)).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, encoded.schema) as writer:
        writer.write_table(encoded)
    return b64encode(sink.getvalue()).decode()


def _timestamp_struct(array: pa.Array) -> pa.Array:
    """Snowflake's struct of epoch seconds and nanoseconds, null where the timestamp is."""
    microseconds = array.cast(pa.int64())
    # floored first, then divided: integer division truncates towards zero, which is wrong before 1970
    whole_seconds = pc.divide(pc.floor_temporal(array, unit="second").cast(pa.int64()), 1_000_000)
    rest = pc.subtract(microseconds, pc.multiply(whole_seconds, 1_000_000))
    parts = {
        "epoch": pc.fill_null(whole_seconds, 0),
        "fraction": pc.fill_null(pc.multiply(rest, 1000).cast(pa.int32()), 0),
    }
    if array.type.tz:
        parts["timezone"] = pa.array([_MINUTES_OF_UTC] * len(array), pa.int32())
    fields = [pa.field(name, part.type, nullable=False) for name, part in parts.items()]
    return pa.StructArray.from_arrays(list(parts.values()), fields=fields, mask=array.is_null())
