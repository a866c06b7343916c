"""The statements that one Snowflake statement becomes, and MERGE as DuckDB has it.

They run in order inside one transaction; a guard is a query that must find no row before the next part runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import fakesnow.transforms as transforms
from sqlglot import exp

from local_snowflake.errors import unsupported


@dataclass(frozen=True)
class Part:
    tree: exp.Expr
    is_guard: bool = False


def split(tree: exp.Expr) -> list[Part]:
    """The parts of a rewritten statement, most often the one that it is."""
    if isinstance(tree, exp.Merge):
        duplicates = _duplicates_query(tree)
        _qualify(tree)
        return [Part(duplicates, is_guard=True), Part(tree)] if duplicates is not None else [Part(tree)]
    if isinstance(tree, exp.Insert) and tree.args.get("overwrite"):
        target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        tree.set("overwrite", False)
        return [Part(exp.Delete(this=target.copy())), Part(tree)]
    if isinstance(tree, exp.Create) and _has_contract(tree):
        return _create_then_insert(tree)
    if isinstance(tree, exp.MultitableInserts):
        if tree.args.get("kind") == "FIRST" or any(insert.args.get("expression") for insert in tree.expressions):
            raise unsupported("conditional INSERT ALL / FIRST")
        source = tree.args["source"]
        return [Part(exp.Insert(this=insert.this.this, expression=source.copy())) for insert in tree.expressions]
    for splitter in (transforms.create_table_autoincrement, transforms.alter_table_add_multiple_columns):
        trees = splitter(tree)
        if len(trees) > 1:
            return [Part(one) for one in trees]
    return [Part(tree)]


def _has_contract(tree: exp.Create) -> bool:
    """CREATE TABLE t (a int not null, ...) AS SELECT: the form of a dbt model with an enforced contract."""
    if tree.kind != "TABLE" or not isinstance(tree.this, exp.Schema):
        return False
    return tree.expression is not None and all(isinstance(item, exp.ColumnDef) for item in tree.this.expressions)


def _create_then_insert(tree: exp.Create) -> list[Part]:
    """Make the table, then insert: so the column types and NOT NULL hold."""
    create = exp.Create(
        this=tree.this,
        kind="TABLE",
        replace=tree.args.get("replace"),
        exists=tree.args.get("exists"),
        properties=tree.args.get("properties"),
    )
    insert = exp.Insert(this=tree.this.this.copy(), expression=tree.expression.copy())
    return [Part(create), Part(insert)]


def merge_clauses(merge: exp.Merge) -> list[exp.When]:
    whens = merge.args["whens"]
    return whens.expressions if isinstance(whens, exp.Whens) else whens


def _qualify(merge: exp.Merge) -> None:
    """For DuckDB's own MERGE: bare names on the left of SET, and bare INSERT values with the source's name."""
    source = merge.args["using"].alias_or_name
    for when in merge_clauses(merge):
        then = when.args["then"]
        if isinstance(then, exp.Update):
            for assignment in then.expressions:
                if isinstance(assignment, exp.EQ) and isinstance(assignment.this, exp.Column):
                    assignment.set("this", exp.column(assignment.this.this))
        elif isinstance(then, exp.Insert):
            if isinstance(then.this, exp.Tuple):
                columns = [
                    exp.column(item.this) if isinstance(item, exp.Column) else item for item in then.this.expressions
                ]
                then.this.set("expressions", columns)
            if isinstance(then.expression, exp.Tuple) and source:
                for column in list(then.expression.find_all(exp.Column)):
                    if not column.table:
                        column.set("table", exp.to_identifier(source, quoted=source != source.upper()))


def _duplicates_query(merge: exp.Merge) -> exp.Expr | None:
    """Target rows that more than one source row would change: Snowflake's "Duplicate row detected" (100090)."""
    conditions = [
        when.args["condition"].copy() if when.args.get("condition") else exp.true()
        for when in merge_clauses(merge)
        if when.args.get("matched")
    ]
    if not conditions:
        return None
    target = merge.this.copy()
    row = exp.column("ROWID", table=target.alias_or_name)
    return (
        exp.select(exp.Literal.number(1))
        .from_(target)
        .join(merge.args["using"].copy(), on=merge.args["on"].copy(), join_type="inner")
        .where(exp.or_(*conditions))
        .group_by(row)
        .having("count(*) > 1")
        .limit(1)
    )
