"""Which sessions were ended before their time: by a logout, or by a login that took their place.

Kept in Dagster's own database, so that a logout holds after a restart and in the other copy of a webserver during a
deploy: there within `REFRESH_SECONDS`, here at once. An entry is forgotten when the session would have ended by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

REFRESH_SECONDS = 2.0
_TABLE = sa.Table(
    "apollo_ended_sessions",
    sa.MetaData(),
    sa.Column("session_id", sa.String(64), primary_key=True),
    sa.Column("forget_at", sa.Float, nullable=False, index=True),
)


class StoreUnavailableError(Exception):
    """The database does not answer, so nobody can say which sessions were ended."""


class EndedSessions:
    """The ended sessions, of which each process keeps a copy.

    Args:
        url: a SQLAlchemy URL; Postgres where there is one, else an SQLite file.
        clock: seconds since 1970.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        # One connection, kept: a new one for each look would be what an idle stack does most.
        arguments = (
            {"connect_timeout": 5, "options": "-c statement_timeout=5000"}
            if url.startswith("postgresql")
            else {"timeout": 5}
        )
        self._engine = sa.create_engine(url, connect_args=arguments, pool_size=1, max_overflow=0, pool_pre_ping=True)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._read_at = float("-inf")
        self._has_table = False

    def is_fresh(self) -> bool:
        """Whether this process's copy may be asked without looking into the database."""
        return 0 <= self._clock() - self._read_at < REFRESH_SECONDS

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._known

    def refresh(self) -> None:
        """Look into the database, unless somebody just did. Blocks.

        Raises:
            StoreUnavailableError: when it does not answer.
        """
        with self._lock:
            if not self.is_fresh():
                self._read()

    def end(self, session_id: str, forget_at: float) -> None:
        """End a session, and forget those that have ended by themselves meanwhile. Blocks.

        Args:
            forget_at: when it would have ended by itself, in seconds since 1970.

        Raises:
            StoreUnavailableError: when it could not be written down; in this process it is ended all the same.
        """
        with self._lock:
            self._known |= {session_id}
            try:
                self._make_table()
                with self._engine.begin() as connection:
                    connection.execute(_TABLE.delete().where(_TABLE.c.forget_at < self._clock()))
                    connection.execute(_TABLE.insert().values(session_id=session_id, forget_at=forget_at))
            except IntegrityError:
                return  # it was ended before
            except SQLAlchemyError as error:
                raise StoreUnavailableError(type(error).__name__) from None

    def close(self) -> None:
        """Give the connection back."""
        self._engine.dispose()

    def _read(self) -> None:
        try:
            self._make_table()
            with self._engine.connect() as connection:
                rows = connection.execute(sa.select(_TABLE.c.session_id).where(_TABLE.c.forget_at >= self._clock()))
                self._known = frozenset(row[0] for row in rows)
        except SQLAlchemyError as error:
            # The driver's message may hold the address; its kind is enough, and the rest is in Dagster's own logs.
            raise StoreUnavailableError(type(error).__name__) from None
        self._read_at = self._clock()

    def _make_table(self) -> None:
        if self._has_table:
            return
        try:
            _TABLE.metadata.create_all(self._engine)
        except (IntegrityError, OperationalError, ProgrammingError):
            # The other copy made it in the same moment: `IF NOT EXISTS` does not guard against that.
            if not sa.inspect(self._engine).has_table(_TABLE.name):
                raise
        self._has_table = True
