"""The transaction of one session: Snowflake's rules on a DuckDB connection.

BEGIN waits for the first write, so that a session that only reads never has the lock. DDL commits what is open, as in
Snowflake. DuckDB has no savepoints: an error inside BEGIN ... COMMIT rolls all of it back, and from then on every
change and the COMMIT are refused until the client has ended the transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import Enum

import duckdb

from local_snowflake.errors import SqlError
from local_snowflake.write_lock import WriteLock, Writer


class State(Enum):
    NONE = "none"
    BEGUN = "begun"
    """The client said BEGIN; nothing is written yet and DuckDB has no transaction."""
    OPEN = "open"


class Transaction:
    """The state between BEGIN and COMMIT of one session."""

    def __init__(self, duck: duckdb.DuckDBPyConnection, lock: WriteLock, writer: Writer) -> None:
        self.state = State.NONE
        self._duck, self._lock, self._writer = duck, lock, writer
        self._lost: str | None = None
        """Why a transaction that the client believes open was rolled back."""

    def begin(self) -> None:
        self._lost = None
        if self.state is State.NONE:
            self.state = State.BEGUN

    def commit(self) -> None:
        """Commit; without a transaction it does nothing, as in Snowflake.

        Raises:
            SqlError: 90232, the transaction was lost and nothing of it is committed.
        """
        lost, self._lost = self._lost, None
        if lost:
            raise _lost_error(lost)
        self._end("COMMIT")

    def rollback(self) -> None:
        self._lost = None
        with contextlib.suppress(duckdb.Error):  # DuckDB has rolled it back by itself
            self._end("ROLLBACK")

    def lose(self, why: str) -> None:
        """Roll back an open transaction without the client having asked; it is told at its next change or COMMIT."""
        if self.state is State.OPEN:
            self.rollback()
            self._lost = why

    def _end(self, how: str) -> None:
        try:
            if self.state is State.OPEN:
                self._duck.execute(how)
        finally:
            self.state = State.NONE
            self._lock.release(self._writer)

    def _open(self) -> None:
        self._lock.acquire(self._writer)
        try:
            self._duck.execute("BEGIN")
        except BaseException:
            self._lock.release(self._writer)
            raise
        self.state = State.OPEN

    @contextlib.contextmanager
    def writing(self, ddl: bool) -> Iterator[None]:
        """The lock and a DuckDB transaction around the writes of one statement.

        Inside BEGIN ... COMMIT they stay open after it. DDL first commits what is open and stands alone.
        """
        if ddl:
            self._lost = None
            self.commit()
        elif self._lost:
            raise _lost_error(self._lost)
        if self.state is State.OPEN:
            yield
            return
        alone = self.state is State.NONE
        self._open()
        if not alone:
            yield
            return
        try:
            yield
            self._end("COMMIT")
        except BaseException:
            self.rollback()
            raise


def _lost_error(why: str) -> SqlError:
    return SqlError(90232, "40000", f"The transaction was rolled back {why} (local Snowflake); nothing is committed.")
