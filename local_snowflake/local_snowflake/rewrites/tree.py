"""How a rewrite walks and builds trees: replacing nodes leaves first, reading constants, short constructors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

Types = exp.DataType.Type


def replace_each(
    tree: exp.Expr,
    types: tuple[type[exp.Expr], ...],
    replacement: Callable[[Any], exp.Expr | None],
) -> exp.Expr:
    """Replace each node of the types by what the function gives; None keeps it. Leaves first, the root too."""
    for node in reversed(list(tree.find_all(*types))):
        new = replacement(node)
        if new is None or new is node:
            continue
        if node is tree:
            tree = new
        else:
            node.replace(new)
    return tree


def function_name(node: exp.Func) -> str:
    return (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).upper()


def arguments(node: exp.Func) -> list[exp.Expr]:
    """The arguments of a function that sqlglot may or may not know."""
    return node.expressions or [node.this]


def constant_text(node: exp.Expr | None) -> str | None:
    """The text of a literal or of a concatenation of literals; None when it is neither."""
    if isinstance(node, exp.Literal):
        return str(node.this)
    if isinstance(node, exp.Paren):
        return constant_text(node.this)
    if isinstance(node, exp.DPipe):
        parts = [constant_text(node.this), constant_text(node.expression)]
    elif isinstance(node, exp.Concat):
        parts = [constant_text(part) for part in node.expressions]
    else:
        return None
    return None if None in parts else "".join(part or "" for part in parts)


def call(name: str, *args: exp.Expr) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=list(args))


def text(value: object) -> exp.Expr:
    return exp.Null() if value is None else exp.Literal.string(str(value))


def as_timestamp(node: exp.Expr) -> exp.Cast:
    return exp.Cast(this=node, to=exp.DataType(this=Types.DATETIME))
