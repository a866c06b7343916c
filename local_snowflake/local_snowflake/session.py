"""One session of a logged-in client: its context, its DuckDB connection, and the running of a statement in it.

A session runs one statement at a time. What a statement means stands in `commands` and `statements`; here are the time
limit, cancelling, the repeat after a conflict in DuckDB's catalogue, and what an error does to a transaction.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from local_snowflake import commands, statements
from local_snowflake.errors import SqlError, from_exception, no_such_object, unsupported
from local_snowflake.fakesnow_adapter import ConnectionState
from local_snowflake.names import ObjectName, quoted
from local_snowflake.results import Result
from local_snowflake.transactions import State, Transaction
from local_snowflake.variables import replace_variables

if TYPE_CHECKING:
    from local_snowflake.engine import Engine

_MOST_ATTEMPTS = 6


class Session:
    def __init__(self, engine: Engine, session_id: str, user: str, role: str, warehouse: str | None) -> None:
        self.engine, self.id, self.user, self.role = engine, session_id, user, role
        self.warehouse = warehouse
        self.database: str | None = None
        self.schema: str | None = None
        self.parameters: dict[str, Any] = {}
        self.variables: dict[str, str] = {}
        self.temporary: dict[ObjectName, str] = {}
        """The kind, TABLE or VIEW, of each temporary object."""
        self.last_query_id: str | None = None
        self.duck = engine.catalog.connect()
        self.transaction = Transaction(self.duck, engine.write_lock, self)
        self._lock = threading.RLock()
        self._busy = self._cancelled = self._timed_out = False
        self._last_used = time.monotonic()
        self._deadline: float | None = None

    # the context of a statement

    def use(self, database: str | None, schema: str | None) -> None:
        """Make a database and a schema current; without a schema it is PUBLIC, if there is one.

        Raises:
            SqlError: 2043, there is no such database or schema.
        """
        catalog = self.engine.catalog
        if not database or not catalog.has_database(database):
            raise no_such_object()
        if schema is None:
            schema = "PUBLIC" if catalog.has_schema(database, "PUBLIC") else None
        elif not catalog.has_schema(database, schema):
            raise no_such_object()
        stored = "_fs_information_schema" if schema == "INFORMATION_SCHEMA" else schema or "main"
        self.duck.execute(f"SET schema = '{quoted(database)}.{quoted(stored)}'")
        self.database, self.schema = database, schema

    def fakesnow_state(self) -> ConnectionState:
        return ConnectionState(self.database, self.schema, self.engine.catalog.folder)

    def context_values(self) -> dict[str, str | None]:
        """What CURRENT_ROLE() and its like give in this session."""
        account = self.engine.account
        return {
            "CURRENT_WAREHOUSE": self.warehouse,
            "CURRENT_ROLE": self.role,
            "CURRENT_USER": self.user,
            "CURRENT_DATABASE": self.database,
            "CURRENT_SCHEMA": self.schema,
            "CURRENT_ACCOUNT": account.name,
            "CURRENT_ACCOUNT_NAME": account.name,
            "CURRENT_ORGANIZATION_NAME": "LOCALORG",
            "CURRENT_REGION": "LOCAL",
            "CURRENT_SESSION": self.id,
            "CURRENT_CLIENT": "local",
            "CURRENT_IP_ADDRESS": "127.0.0.1",
            "CURRENT_AVAILABLE_ROLES": json.dumps(sorted(account.roles_of(self.user))),
            "LAST_QUERY_ID": self.last_query_id,
        }

    def set_parameter(self, name: str, value: str) -> None:
        """ALTER SESSION SET; what would change a result here is refused, everything else is kept."""
        if name == "TIMEZONE" and value not in ("UTC", "Etc/UTC"):
            raise unsupported("ALTER SESSION SET TIMEZONE other than UTC")
        if name == "AUTOCOMMIT" and value.lower() not in ("true", "1"):
            raise unsupported("AUTOCOMMIT = false (use BEGIN ... COMMIT)")
        self.parameters[name] = value

    # names

    def resolve(self, parts: Sequence[str]) -> ObjectName:
        """The full name of a name of one to three parts."""
        context = [self.database or "", self.schema or ""]
        full = [*context[: 3 - len(parts)], *parts]
        return full[0], full[1], full[2]

    def duck_name(self, name: ObjectName) -> str:
        """How DuckDB calls an object in this session."""
        return quoted("temp", "main", ".".join(name)) if name in self.temporary else quoted(*name)

    def kind_of(self, name: ObjectName) -> str:
        """TABLE or VIEW.

        Raises:
            SqlError: 2003, there is no such object.
        """
        return self.temporary.get(name) or self.engine.catalog.object(name).kind

    def result_relation(self, query_id: str) -> str:
        """Register a kept result with DuckDB, and give the name to select from.

        Raises:
            SqlError: 709, it is not kept (any more).
        """
        result = self.engine.results.get(query_id)
        if result is None:
            raise SqlError(709, "02000", f"Statement {query_id} not found")
        relation = "_result_" + query_id.replace("-", "")
        self.duck.register(relation, result.table)
        return relation

    # writing

    def change(self, duck_statements: Sequence[str], changed: ObjectName | None = None) -> None:
        """Run DDL of DuckDB's for a command, and note the object as changed."""
        with self.transaction.writing(ddl=True):
            for sql in duck_statements:
                self.duck.execute(sql)
        if changed and changed not in self.temporary:
            self.engine.catalog.touch(changed)

    # running

    def execute(self, sql: str, parameters: Any = None) -> Result:
        """Run one statement.

        Args:
            parameters: a list for `?` placeholders, a mapping for named ones, or None.

        Raises:
            SqlError: whatever went wrong, as Snowflake would say it.
        """
        with self._lock:
            limit = self._start()
            try:
                result = self._attempt(sql, parameters)
            except BaseException as error:
                self.transaction.lose("after an error in it")
                if self._timed_out and isinstance(error, duckdb.InterruptException):
                    raise _timeout_error(limit) from None
                raise from_exception(error, sql) from error
            finally:
                self._busy, self._deadline, self._last_used = False, None, time.monotonic()
            self.last_query_id = result.query_id
            self.engine.results.add(result)
            return result

    def execute_rows(self, sql: str, rows: Sequence[Sequence[Any]]) -> list[Result]:
        """Run one statement for each row of parameters, all of them or none."""
        with self._lock:
            whole = self.transaction.state is State.NONE
            if whole:
                self.transaction.begin()
            try:
                results = [self.execute(sql, list(row)) for row in rows]
            except SqlError:
                if whole:
                    self.transaction.rollback()
                raise
            if whole:
                self.transaction.commit()
            return results

    def _start(self) -> float:
        """Begin to count a statement's time; the limit in seconds."""
        self._busy, self._cancelled, self._timed_out = True, False, False
        limit = self.engine.settings.statement_timeout_seconds
        with contextlib.suppress(TypeError, ValueError):
            limit = min(limit, float(self.parameters.get("STATEMENT_TIMEOUT_IN_SECONDS") or 0) or limit)
        self._deadline = time.monotonic() + limit
        return limit

    def _attempt(self, sql: str, parameters: Any) -> Result:
        """Run a statement, and again when DuckDB met another session's change of the catalogue.

        The statement is rolled back whole by then, so that running it again is safe outside of a transaction.
        """
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            try:
                text = replace_variables(sql, self.variables)
                return commands.run(text, self) or statements.run(text, self, parameters)
            except duckdb.TransactionException as error:
                in_transaction = self.transaction.state is not State.NONE
                if in_transaction or attempt == _MOST_ATTEMPTS or "onflict" not in str(error):
                    raise
                time.sleep(0.02 * 2**attempt)
        raise AssertionError("unreachable")

    # cancelling, and what other threads ask

    def cancel(self, timed_out: bool = False) -> None:
        """End the running statement, wherever it is: in DuckDB or waiting for the write lock."""
        if self._busy:
            self._timed_out, self._cancelled = timed_out, True
            self.duck.interrupt()
            self.engine.write_lock.wake()

    def cancel_if_overdue(self) -> None:
        deadline = self._deadline
        if deadline is not None and time.monotonic() > deadline:
            self.cancel(timed_out=True)

    def raise_if_cancelled(self) -> None:
        """Called between the steps of a statement and while it waits, where DuckDB has nothing to interrupt."""
        if self._cancelled:
            raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")

    def give_up_idle_transaction(self, idle_seconds: float) -> bool:
        if self._busy or time.monotonic() - self._last_used <= idle_seconds:
            return False
        if not self._lock.acquire(blocking=False):  # it has just begun a statement
            return False
        try:
            self.transaction.lose("because it was idle and another session waited for its lock")
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        """Roll back what is open and forget the session; its temporary objects go with its connection."""
        self.cancel()
        with self._lock:
            self.transaction.rollback()
            self.engine.sessions.pop(self.id, None)
            with contextlib.suppress(duckdb.Error):
                self.duck.close()


def _timeout_error(seconds: float) -> SqlError:
    return SqlError(630, "57014", f"Statement reached its statement timeout of {seconds:g} second(s) and was canceled.")
