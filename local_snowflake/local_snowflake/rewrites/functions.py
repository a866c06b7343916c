"""Single functions that DuckDB lacks or reads otherwise: one small rule each, and the first that answers counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from local_snowflake.errors import unsupported
from local_snowflake.rewrites import dates, semi_structured
from local_snowflake.rewrites.tree import arguments, call, constant_text, function_name, replace_each, text

if TYPE_CHECKING:
    from local_snowflake.statements import Statement

_RENAMED = {"BOOLOR_AGG": "bool_or", "BOOLAND_AGG": "bool_and", "MD5_HEX": "md5"}


def single_functions(tree: exp.Expr, _: Statement) -> exp.Expr:
    def one(node: exp.Func) -> exp.Expr | None:
        return next((new for rule in RULES if (new := rule(node)) is not None), None)

    return replace_each(tree, (exp.Func,), one)


def _renamed(node: exp.Func) -> exp.Expr | None:
    name = _RENAMED.get(function_name(node))
    return call(name, *arguments(node)) if name else None


def _regexp_replace(node: exp.Func) -> exp.Expr | None:
    """REGEXP_REPLACE with flags; all occurrences from the first position, as DuckDB's flag g does."""
    options = ("position", "occurrence", "modifiers")
    if function_name(node) != "REGEXP_REPLACE" or not any(node.args.get(option) for option in options):
        return None
    position, occurrence = (constant_text(node.args[key]) if node.args.get(key) else None for key in options[:2])
    if position not in (None, "1") or occurrence not in (None, "0"):
        raise unsupported("REGEXP_REPLACE with position or occurrence")
    flags = constant_text(node.args.get("modifiers")) or ""
    pattern = (constant_text(node.expression) or "").replace("\\\\", "\\")
    replacement = node.args.get("replacement") or text("")
    return call("regexp_replace", node.this, text(pattern), replacement, text("g" + flags.replace("e", "")))


def _equal_null(node: exp.Func) -> exp.Expr | None:
    if function_name(node) != "EQUAL_NULL":
        return None
    left, right = node.expressions or (node.this, node.expression)
    return exp.Paren(this=exp.NullSafeEQ(this=left, expression=right))


def _width_bucket(node: exp.Func) -> exp.Expr | None:
    if not isinstance(node, exp.WidthBucket):
        return None
    bounds = [node.args[key] for key in ("min_value", "max_value", "num_buckets")]
    return call("_fs_global.main._ls_width_bucket", node.this, *bounds)


def _hash(node: exp.Func) -> exp.Expr | None:
    """HASH(...): another number than Snowflake's, as text because DuckDB's does not fit a signed 64-bit integer."""
    if function_name(node) != "HASH":
        return None
    return exp.cast(call("hash", *arguments(node)), "VARCHAR")


RULES: list[Callable[[exp.Func], exp.Expr | None]] = [
    dates.convert_timezone,
    _regexp_replace,
    dates.to_timestamp_tz,
    _renamed,
    _equal_null,
    dates.add_to_date,
    dates.truncate_date,
    semi_structured.type_of_variant,
    semi_structured.array_contains,
    dates.try_to_timestamp,
    semi_structured.cast_to_variant,
    semi_structured.variant_as_text,
    _width_bucket,
    _hash,
]
