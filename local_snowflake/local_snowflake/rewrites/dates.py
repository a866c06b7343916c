"""Dates, times and their formats: TO_CHAR, DATEADD, DATEDIFF, DATE_TRUNC, time zones, intervals.

Adding days or months to a DATE and truncating one give a DATE again, through typed macros of `catalog_sql`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

from local_snowflake.errors import unsupported
from local_snowflake.rewrites.tree import (
    Types,
    arguments,
    as_timestamp,
    call,
    constant_text,
    function_name,
    replace_each,
    text,
)

if TYPE_CHECKING:
    from local_snowflake.statements import Statement

_FORMAT_ELEMENT = re.compile(
    r"YYYY|YY|MMMM|MON|MM|DD|DY|HH24|HH12|HH|MI|SS|FF\d?|AM|PM|TZH:TZM|TZHTZM|TZH|TZM", re.IGNORECASE
)
_STRFTIME = {
    "YYYY": "%Y",
    "YY": "%y",
    "MMMM": "%B",
    "MON": "%b",
    "MM": "%m",
    "DD": "%d",
    "DY": "%a",
    "HH24": "%H",
    "HH12": "%I",
    "HH": "%H",
    "MI": "%M",
    "SS": "%S",
    "AM": "%p",
    "PM": "%p",
    "FF": "%f",
    "FF3": "%g",
    "FF6": "%f",
    "FF9": "%n",
    "TZH:TZM": "+00:00",  # every time zone here is UTC
    "TZHTZM": "+0000",
    "TZH": "+00",
    "TZM": "00",
}
_UNITS = {"DAY": (1, "day"), "WEEK": (7, "day"), "MONTH": (1, "month"), "QUARTER": (3, "month"), "YEAR": (12, "month")}


def format_dates_and_numbers(tree: exp.Expr, _: Statement) -> exp.Expr:
    """TO_VARCHAR(d, 'YYYY-MM-DD') as strftime, TO_VARCHAR(n, '999,990.00') as format."""
    if isinstance(tree, exp.Command):
        return tree

    def one(node: exp.ToChar | exp.TimeToStr) -> exp.Expr | None:
        if node.args.get("format") is None:
            return None
        pattern = constant_text(node.args["format"])
        if pattern is None:
            raise unsupported("TO_VARCHAR with a format that is not a constant")
        if "%" in pattern or _FORMAT_ELEMENT.search(pattern):
            written = pattern if "%" in pattern else _strftime(pattern)
            return call("strftime", exp.cast(node.this, "TIMESTAMP", dialect="duckdb"), text(written))
        return call("format", text(_number_format(pattern)), exp.cast(node.this, "DOUBLE"))

    return replace_each(tree, (exp.ToChar, exp.TimeToStr), one)


def _strftime(pattern: str) -> str:
    translated = _FORMAT_ELEMENT.sub(lambda found: _STRFTIME.get(found[0].upper(), found[0]), pattern)
    return translated.replace('"', "")


def _number_format(pattern: str) -> str:
    _, _, decimals = pattern.partition(".")
    places = sum(character in "09" for character in decimals)
    sign, thousands = "$" if "$" in pattern else "", "," if "," in pattern else ""
    return f"{sign}{{:{thousands}.{places}f}}"


def difference_arguments(tree: exp.Expr, _: Statement) -> exp.Expr:
    """DATEDIFF of a date and a timestamp: both as TIMESTAMP, because DuckDB has no mixed form."""
    for node in tree.find_all(exp.DateDiff, exp.TimestampDiff):
        for key in ("this", "expression"):
            argument = node.args.get(key)
            is_timestamp = isinstance(argument, exp.Cast) and argument.to.this in (Types.TIMESTAMP, Types.TIMESTAMPNTZ)
            if argument is not None and not is_timestamp:
                node.set(key, as_timestamp(argument))
    return tree


def intervals(tree: exp.Expr, _: Statement) -> exp.Expr:
    """INTERVAL '2 hours, 3 minutes' without its commas."""
    for interval in tree.find_all(exp.Interval):
        if isinstance(interval.this, exp.Literal) and "," in str(interval.this.this):
            interval.this.set("this", str(interval.this.this).replace(",", " "))
    return tree


def convert_timezone(node: exp.Func) -> exp.Expr | None:
    if not isinstance(node, exp.ConvertTimezone):
        return None
    source = node.args.get("source_tz") or text("UTC")
    utc = exp.AtTimeZone(this=as_timestamp(node.args["timestamp"]), zone=source)
    return exp.Paren(this=exp.AtTimeZone(this=exp.Paren(this=utc), zone=node.args["target_tz"]))


def to_timestamp_tz(node: exp.Func) -> exp.Expr | None:
    if function_name(node) != "TO_TIMESTAMP_TZ":
        return None
    return exp.cast(arguments(node)[0], "TIMESTAMPTZ")


def try_to_timestamp(node: exp.Func) -> exp.Expr | None:
    """TRY_TO_TIMESTAMP and TRY_CAST of a literal, as TIMESTAMP without a zone."""
    if function_name(node).startswith("TRY_TO_TIMESTAMP"):
        return exp.TryCast(this=arguments(node)[0], to=exp.DataType(this=Types.DATETIME))
    if not isinstance(node, exp.TryCast) or not isinstance(node.this, exp.Literal):
        return None
    if node.to.this in (Types.TIMESTAMP, Types.TIMESTAMPNTZ):
        return exp.TryCast(this=node.this, to=exp.DataType(this=Types.DATETIME))
    return None


def add_to_date(node: exp.Func) -> exp.Expr | None:
    """DATEADD of a column by days or months keeps the type of the column."""
    if not isinstance(node, exp.DateAdd | exp.TsOrDsAdd) or isinstance(node.this, exp.Cast | exp.Literal):
        return None
    unit = str(node.args.get("unit") or "DAY").upper()
    if unit not in _UNITS or not _has_plain_type(node.this):
        return None
    factor, macro = _UNITS[unit]
    count = node.expression
    if factor != 1:
        count = exp.Mul(this=exp.Paren(this=count), expression=exp.Literal.number(factor))
    return call(f"_fs_global.main._ls_add_{macro}", node.this, count)


def truncate_date(node: exp.Func) -> exp.Expr | None:
    """DATE_TRUNC of a DATE is a DATE."""
    if not isinstance(node, exp.TimestampTrunc | exp.DateTrunc) or isinstance(node.this, exp.Literal):
        return None
    unit = node.args["unit"].name.lower()
    if unit.upper() not in _UNITS or not _has_plain_type(node.this):
        return None
    return call("_fs_global.main._ls_trunc", text(unit), node.this)


def _has_plain_type(node: exp.Expr) -> bool:
    """DuckDB cannot choose the overload of a macro on these."""
    return not any(node.find(kind) for kind in (exp.AggFunc, exp.Window, exp.Subquery))
