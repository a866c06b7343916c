"""Running one SQL statement: parse, rewrite, translate with fakesnow, run in DuckDB.

Statements that need no SQL work, such as USE or SHOW, were answered by `commands` before. What DuckDB does not keep of
a change is noted by `bookkeeping` afterwards. The dialects are imported, not named: sqlglot loads one that is named at
its first use, and gives a half made class to the threads that ask meanwhile.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlglot
from fakesnow.statement_type import statement_type_id
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.dialects.snowflake import Snowflake

from local_snowflake import bookkeeping, variables
from local_snowflake.errors import SqlError, already_exists, compilation_error, unsupported
from local_snowflake.fakesnow_adapter import check_database_and_schema, to_duckdb
from local_snowflake.names import ObjectName, identifier_text, object_name, quoted, sql_text
from local_snowflake.results import MULTI_JOINED, Result, row_counts, status
from local_snowflake.rewrites import parts, rewrite

if TYPE_CHECKING:
    from local_snowflake.session import Session

_DDL = (exp.Create, exp.Drop, exp.Alter)
_DML = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable, exp.MultitableInserts)
_READS = (exp.Query, exp.Show, exp.Values)


@dataclass
class Statement:
    """A parsed statement, and what its rewrites found out about it."""

    session: Session
    tree: exp.Expr
    type_id: int
    target: ObjectName | None
    temporary: ObjectName | None = None
    """The target, when this statement makes a temporary object."""
    column_comments: dict[str, str] = field(default_factory=dict)
    copies_grants: bool = False
    text_lengths: dict[str, int] = field(default_factory=dict)

    def is_a(self, *types: type[exp.Expr]) -> bool:
        return isinstance(self.tree, types)


def run(sql: str, session: Session, parameters: Any) -> Result:
    """Run a statement in a session.

    Raises:
        Exception: SqlError, or what sqlglot, fakesnow and DuckDB raise; the session makes a SqlError of it.
    """
    tree = _parse(sql)
    if isinstance(tree, exp.Set):
        variables.assign(tree, session.variables, session.duck)
        return status()
    if isinstance(tree, exp.Create | exp.Drop) and tree.kind == "DATABASE":
        return _database(tree, session)
    if isinstance(tree, exp.Command):
        raise unsupported(f"{tree.this} {str(tree.expression).strip()[:60]}".strip())
    if not isinstance(tree, (*_DDL, *_DML, *_READS)):
        raise compilation_error(f"syntax error line 1 at position 0 unexpected '{sql.split(None, 1)[0][:40]}'.")
    statement = Statement(session, tree, statement_type_id(tree), _target(tree, session))
    _require_warehouse(statement)
    check_database_and_schema(session.fakesnow_state(), session.duck, tree)
    if isinstance(tree, exp.Drop) and statement.target in session.temporary:
        return _drop_temporary(statement)
    statement.tree = rewrite(tree, statement)
    if statement.is_a(*_READS):
        return _read(statement, parameters)
    if statement.target and _is_there_already(statement):
        return status(f"{statement.target[2]} already exists, statement succeeded.")
    if statement.temporary:
        return _make_temporary(statement, parameters)
    return _write(statement, parameters)


def _parse(sql: str) -> exp.Expr:
    trees = [tree for tree in sqlglot.parse(sql, read=Snowflake) if tree and not isinstance(tree, exp.Semicolon)]
    if not trees:
        raise SqlError(900, "42601", "SQL compilation error:\nEmpty SQL statement.")
    if len(trees) > 1:
        raise SqlError(8, "0A000", f"Actual statement count {len(trees)} did not match the desired statement count 1.")
    return trees[0]


def _target(tree: exp.Expr, session: Session) -> ObjectName | None:
    """The object that a statement makes, drops or changes."""
    if isinstance(tree, exp.TruncateTable):
        target = tree.expressions[0]
    elif isinstance(tree, (*_DDL, exp.Insert, exp.Update, exp.Delete, exp.Merge)):
        target = tree.this
    else:
        return None
    if isinstance(target, exp.Schema):
        target = target.this
    if not isinstance(target, exp.Table) or not target.name:
        return None
    return object_name(target, session.database, session.schema)


def _database(tree: exp.Create | exp.Drop, session: Session) -> Result:
    if isinstance(tree, exp.Drop):
        raise unsupported("DROP DATABASE")
    engine, name = session.engine, identifier_text(tree.find(exp.Identifier))
    if engine.catalog.has_database(name):
        if tree.args.get("exists"):
            return status(f"{name} already exists, statement succeeded.")
        raise unsupported("CREATE OR REPLACE DATABASE") if tree.args.get("replace") else already_exists(name)
    engine.write_lock.acquire(session)
    try:
        engine.catalog.add_database(name)
    finally:
        engine.write_lock.release(session)
    return status(f"Database {name} successfully created.")


def _is_there_already(statement: Statement) -> bool:
    """Whether CREATE TABLE or VIEW IF NOT EXISTS has nothing to do; the insert of a create-as must not run then."""
    tree, session, name = statement.tree, statement.session, statement.target
    if not isinstance(tree, exp.Create) or not tree.args.get("exists") or tree.kind not in ("TABLE", "VIEW"):
        return False
    lasting = [] if statement.temporary else session.engine.catalog.objects(name[0], name[1]) if name else []
    return name in session.temporary or any(item.name == name for item in lasting)


def _require_warehouse(statement: Statement) -> None:
    """Reading a table and changing rows need a warehouse, as in Snowflake; a bare SELECT 1 and most DDL do not."""
    if statement.session.warehouse is not None:
        return
    tree = statement.tree
    reads_table = isinstance(tree, exp.Query) and tree.find(exp.Table)
    creates_with_rows = isinstance(tree, exp.Create) and tree.kind == "TABLE" and tree.expression is not None
    if reads_table or creates_with_rows or isinstance(tree, _DML):
        raise SqlError(
            606,
            "57P03",
            "No active warehouse selected in the current session.  "
            "Select an active warehouse with the 'use warehouse' command.",
        )


def _translate(tree: exp.Expr, statement: Statement, parameters: Any) -> tuple[str, exp.Expr]:
    """DuckDB's SQL, and the tree that fakesnow made, which carries notes for the bookkeeping."""
    session = statement.session
    made = to_duckdb(session.fakesnow_state(), session.duck, tree, parameters)
    seed = made.args.get("seed")
    set_seed = f"SELECT setseed({seed}); " if seed else ""
    session.raise_if_cancelled()
    return set_seed + made.sql(dialect=DuckDB, identify=True), made


def _read(statement: Statement, parameters: Any) -> Result:
    duck = statement.session.duck
    sql, _ = _translate(statement.tree, statement, parameters)
    duck.execute(sql, parameters or None)
    columns = [(str(column[0]), str(column[1])) for column in duck.description or []]
    return Result(columns, duck.to_arrow_table(), statement.type_id)


def _write(statement: Statement, parameters: Any) -> Result:
    session = statement.session
    result = status()
    with session.transaction.writing(ddl=statement.is_a(*_DDL)):
        for part in parts.split(statement.tree):
            sql, made = _translate(part.tree, statement, parameters)
            bound = parameters if parameters and made.find(exp.Placeholder) else None
            if part.is_guard:
                if session.duck.execute(sql, bound).fetchone():
                    raise SqlError(100090, "42P18", "Duplicate row detected during DML action\nRow Values: [...]")
                continue
            result = _run_part(part.tree, sql, bound, statement)
            statement.text_lengths |= dict(made.args.get("text_lengths") or [])
            _comment(statement, made)
    bookkeeping.after(statement)
    result.type_id = statement.type_id
    return result


def _run_part(tree: exp.Expr, sql: str, parameters: Any, statement: Statement) -> Result:
    duck = statement.session.duck
    if isinstance(tree, exp.Merge):
        return _merge(tree, sql, parameters, statement)
    duck.execute(sql, parameters)
    if not isinstance(tree, exp.Insert | exp.Update | exp.Delete):
        name = statement.target[2] if statement.target else ""
        if isinstance(tree, exp.Create):
            return status(f"{str(tree.kind).title()} {name} successfully created.")
        return status(f"{name} successfully dropped.") if isinstance(tree, exp.Drop) else status()
    row = duck.fetchone()
    count = int(row[0]) if row else 0
    if isinstance(tree, exp.Update):
        return row_counts({"number of rows updated": count, MULTI_JOINED: 0})
    return row_counts({f"number of rows {'inserted' if isinstance(tree, exp.Insert) else 'deleted'}": count})


def _merge(tree: exp.Merge, sql: str, parameters: Any, statement: Statement) -> Result:
    """DuckDB's MERGE; Snowflake answers a count for each kind of action that the statement has."""
    actions = statement.session.duck.execute(sql + " RETURNING merge_action", parameters).fetchall()
    done = [action for (action,) in actions]
    named: dict[type[exp.Expr], str] = {exp.Insert: "INSERT", exp.Update: "UPDATE"}
    kinds = {named.get(type(when.args["then"]), "DELETE") for when in parts.merge_clauses(tree)}
    words = {"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted"}
    return row_counts({f"number of rows {words[kind]}": done.count(kind) for kind in words if kind in kinds})


def _comment(statement: Statement, made: exp.Expr) -> None:
    """Comments of a CREATE, in the same transaction as the object."""
    session, tree, target = statement.session, statement.tree, statement.target
    if target is None or not isinstance(tree, exp.Create):
        return
    for column, comment in statement.column_comments.items():
        if comment:
            session.duck.execute(f"COMMENT ON COLUMN {quoted(*target, column)} IS {sql_text(comment)}")
    table_comment = made.args.get("table_comment")
    if table_comment and table_comment[1]:
        comment = sql_text(str(table_comment[1]))
        session.duck.execute(f"COMMENT ON {tree.kind} {quoted(*target)} IS {comment}")


def _make_temporary(statement: Statement, parameters: Any) -> Result:
    """A temporary object neither commits a transaction nor needs the lock: it is this session's alone."""
    session, name, kind = statement.session, statement.target, str(statement.tree.args.get("kind"))
    assert name is not None  # noqa: S101 - a CREATE TABLE or VIEW has a name
    old_kind = session.temporary.get(name)
    if old_kind and not statement.tree.args.get("replace") and not statement.tree.args.get("exists"):
        raise already_exists(".".join(name))
    if old_kind and old_kind != kind:
        session.duck.execute(f"DROP {old_kind} IF EXISTS {session.duck_name(name)}")
    for part in parts.split(statement.tree):
        sql, _ = _translate(part.tree, statement, parameters)
        if isinstance(part.tree, exp.Create) and not re.match(r"CREATE (OR REPLACE )?TEMP", sql):
            sql = re.sub(r"^CREATE (OR REPLACE )?", r"CREATE \1TEMPORARY ", sql)
        session.duck.execute(sql, parameters or None)
    session.temporary[name] = kind
    return status(f"{kind.title()} {name[2]} successfully created.")


def _drop_temporary(statement: Statement) -> Result:
    session, name = statement.session, statement.target
    assert name is not None  # noqa: S101 - it was found among the temporary objects
    session.duck.execute(f"DROP {session.temporary[name]} IF EXISTS {session.duck_name(name)}")
    del session.temporary[name]
    return status(f"{name[2]} successfully dropped.")
