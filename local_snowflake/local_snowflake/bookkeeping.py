"""What follows a change and DuckDB does not keep: times of change, text lengths, grants, the current schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from local_snowflake.names import ObjectName, identifier_text, object_name

if TYPE_CHECKING:
    from local_snowflake.statements import Statement


def after(statement: Statement) -> None:
    """Note what a statement changed, once it is committed or stands in the open transaction."""
    session, tree, target = statement.session, statement.tree, statement.target
    if isinstance(tree, exp.Create) and tree.kind == "SCHEMA":
        _use_new_schema(tree, statement)
    if target is None or not target[2]:
        return
    catalog, account = session.engine.catalog, session.engine.account
    if isinstance(tree, exp.Alter) and (renamed := tree.find(exp.AlterRename)):
        new: ObjectName = object_name(renamed.this, session.database, session.schema)
        account.move_grants(".".join(target), ".".join(new))
        catalog.rename(target, new)
        return
    if isinstance(tree, exp.Drop) or (_replaces_object(tree) and not statement.copies_grants):
        account.forget_grants_on(".".join(target))
    if statement.text_lengths and isinstance(tree, exp.Create | exp.Alter):
        catalog.set_text_lengths(target, statement.text_lengths)
    if not isinstance(tree, exp.Drop):
        catalog.touch(target, created=isinstance(tree, exp.Create))


def _replaces_object(tree: exp.Expr) -> bool:
    return isinstance(tree, exp.Create) and tree.kind in ("TABLE", "VIEW") and bool(tree.args.get("replace"))


def _use_new_schema(tree: exp.Create, statement: Statement) -> None:
    """CREATE SCHEMA makes the schema current, as in Snowflake."""
    named = tree.this
    database = identifier_text(named.args.get("catalog")) or statement.session.database
    statement.session.use(database, identifier_text(named.args.get("db")) or identifier_text(named.this))
