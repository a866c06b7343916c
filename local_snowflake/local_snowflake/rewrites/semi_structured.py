"""VARIANT and FLATTEN on DuckDB's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from local_snowflake.errors import unsupported
from local_snowflake.rewrites.tree import Types, call, replace_each, text

if TYPE_CHECKING:
    from local_snowflake.statements import Statement


def flatten_options(tree: exp.Expr, _: Statement) -> exp.Expr:
    """FLATTEN's path goes into its input; outer => true becomes a table macro that has an empty row."""

    def one(node: exp.Lateral | exp.TableFromRows) -> exp.Expr | None:
        explode = node.this
        options = _named_arguments(explode) if isinstance(explode, exp.Explode) else {}
        if not options:
            return None
        if "input" not in options:
            raise unsupported("FLATTEN with named arguments but without input")
        source = options["input"]
        if path := options.get("path"):
            source = call("json_extract", source, text("$." + path.name))
        if _is_true(options.get("recursive")):
            raise unsupported("FLATTEN(recursive => true)")
        if "mode" in options and options["mode"].name.upper() != "BOTH":
            raise unsupported("FLATTEN(mode => ...) other than 'BOTH'")
        if _is_true(options.get("outer")):
            macro = call("_fs_global.main._ls_flatten_outer", source)
            return exp.Table(this=macro, alias=node.args.get("alias"))
        explode.set("this", exp.Kwarg(this=exp.var("input"), expression=source))
        explode.set("expressions", [])
        return None

    return replace_each(tree, (exp.Lateral, exp.TableFromRows), one)


def _is_true(option: exp.Expr | None) -> bool:
    """Whether an option is given and is not FALSE."""
    return option is not None and not (isinstance(option, exp.Boolean) and not option.this)


def _named_arguments(explode: exp.Explode) -> dict[str, Any]:
    given = [explode.this, *explode.expressions]
    return {str(item.this.name).lower(): item.expression for item in given if isinstance(item, exp.Kwarg)}


def type_of_variant(node: exp.Func) -> exp.Expr | None:
    if not isinstance(node, exp.Typeof):
        return None
    return call("_fs_global.main._ls_typeof", call("to_json", node.this))


def array_contains(node: exp.Func) -> exp.Expr | None:
    if not isinstance(node, exp.ArrayContains):
        return None
    return call("json_contains", call("to_json", node.this), call("to_json", node.expression))


def cast_to_variant(node: exp.Func) -> exp.Expr | None:
    if isinstance(node, exp.Cast) and not isinstance(node, exp.TryCast) and node.to.this == Types.VARIANT:
        return call("to_json", node.this)
    return None


def variant_as_text(node: exp.Func) -> exp.Expr | None:
    """x::variant::varchar is the bare text, without JSON's quotes."""
    if not isinstance(node, exp.Cast) or node.to.this not in (Types.VARCHAR, Types.TEXT):
        return None
    if not (isinstance(node.this, exp.Anonymous) and node.this.name == "to_json"):
        return None
    return exp.JSONExtractScalar(this=node.this, expression=exp.JSONPath(expressions=[exp.JSONPathRoot()]))
