"""Statements that make tables and views: options that DuckDB has no word for, clones, temporary objects.

A temporary object lives in DuckDB's own temporary schema under its full name, "DB.SCHEMA.NAME". So it is the session's
own, hides a lasting object of the same name and goes with the session, as in Snowflake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from local_snowflake.errors import unsupported
from local_snowflake.names import identifier_text, object_name
from local_snowflake.rewrites.tree import replace_each

if TYPE_CHECKING:
    from local_snowflake.statements import Statement

_TIME_TRAVEL = "AT | BEFORE (time travel)"
_UNSUPPORTED_KINDS = ("FUNCTION", "PROCEDURE", "TASK", "STREAM", "PIPE", "DYNAMIC TABLE", "EXTERNAL TABLE")
_KEPT_PROPERTIES = (exp.TemporaryProperty, exp.SchemaCommentProperty)
_KEPT_CONSTRAINTS = (
    exp.NotNullColumnConstraint,
    exp.DefaultColumnConstraint,
    exp.AutoIncrementColumnConstraint,
    exp.GeneratedAsIdentityColumnConstraint,
)


def refuse_unsupported(tree: exp.Expr, _: Statement) -> exp.Expr:
    """A plain refusal by name, in place of a strange error further down."""
    if tree.find(exp.HistoricalData):
        raise unsupported(_TIME_TRAVEL)
    for table in tree.find_all(exp.Table):
        if any(table.args.get(key) for key in ("when", "version", "changes")):
            raise unsupported(_TIME_TRAVEL)
    if tree.find(exp.MatchRecognize):
        raise unsupported("MATCH_RECOGNIZE")
    if isinstance(tree, exp.Create):
        if tree.find(exp.Clone) and tree.kind != "TABLE":
            raise unsupported(f"CREATE {tree.kind} ... CLONE")
        if tree.kind in _UNSUPPORTED_KINDS:
            raise unsupported(f"CREATE {tree.kind}")
    return tree


def drop_options(tree: exp.Expr, statement: Statement) -> exp.Expr:
    """Take away TRANSIENT, COPY GRANTS, CLUSTER BY, keys that are not enforced; note the comments for later."""
    if not isinstance(tree, exp.Create) or tree.kind not in ("TABLE", "VIEW"):
        return tree
    if properties := tree.args.get("properties"):
        if like := properties.find(exp.LikeProperty):
            tree.set("expression", exp.select("*").from_(like.this.copy()).limit(0))
        statement.copies_grants = any(isinstance(item, exp.CopyGrantsProperty) for item in properties.expressions)
        kept = [item for item in properties.expressions if isinstance(item, _KEPT_PROPERTIES)]
        properties.set("expressions", kept)
        if not kept:
            tree.set("properties", None)
    if isinstance(tree.this, exp.Schema):
        columns = [
            item for item in tree.this.expressions if isinstance(item, exp.ColumnDef | exp.Identifier | exp.Column)
        ]
        for column in columns:
            if isinstance(column, exp.ColumnDef):
                _drop_constraints(column, statement)
        tree.this.set("expressions", columns)
    return tree


def _drop_constraints(column: exp.ColumnDef, statement: Statement) -> None:
    constraints = column.args.get("constraints") or []
    for constraint in constraints:
        if isinstance(constraint.kind, exp.CommentColumnConstraint):
            statement.column_comments[identifier_text(column.this)] = constraint.kind.this.name
    column.set("constraints", [item for item in constraints if isinstance(item.kind, _KEPT_CONSTRAINTS)])


def clone_as_select(tree: exp.Expr, _: Statement) -> exp.Expr:
    """CREATE TABLE a CLONE b as a copy of the rows; fakesnow drops OR REPLACE there."""
    if not (isinstance(tree, exp.Create) and tree.kind == "TABLE" and (clone := tree.find(exp.Clone))):
        return tree
    source = clone.find(exp.Table)
    if source is None:
        raise unsupported("CREATE TABLE ... CLONE of something that is not a table")
    return exp.Create(
        this=tree.this,
        kind="TABLE",
        replace=tree.args.get("replace"),
        exists=tree.args.get("exists"),
        expression=exp.select("*").from_(source.copy()),
    )


def temporary_objects(tree: exp.Expr, statement: Statement) -> exp.Expr:
    """CREATE TEMPORARY goes to DuckDB's temporary schema, and so do this session's later mentions of the name."""
    session = statement.session
    if isinstance(tree, exp.Create) and tree.kind in ("TABLE", "VIEW"):
        properties = tree.args.get("properties")
        if properties and properties.find(exp.TemporaryProperty):
            statement.temporary = statement.target
    hidden = set(session.temporary) | ({statement.temporary} if statement.temporary else set())
    if not hidden:
        return tree
    expressions_named = {identifier_text(cte.args["alias"].this) for cte in tree.find_all(exp.CTE)}

    def one(table: exp.Table) -> exp.Expr | None:
        if not isinstance(table.this, exp.Identifier):
            return None
        if not table.args.get("db") and identifier_text(table.this) in expressions_named:
            return None
        name = object_name(table, session.database, session.schema)
        if name not in hidden:
            return None
        alias = table.args.get("alias")
        if not alias and isinstance(table.parent, exp.From | exp.Join):
            same = exp.to_identifier(table.this.this, quoted=bool(table.this.args.get("quoted")))
            alias = exp.TableAlias(this=same)
        parts = {"this": ".".join(name), "db": "main", "catalog": "temp"}
        return exp.Table(
            **{key: exp.to_identifier(part, quoted=True) for key, part in parts.items()},
            alias=alias,
        )

    return replace_each(tree, (exp.Table,), one)
