"""Which sessions were ended before their time: by a logout, or by a login that took their place.

Kept in Dagster's own database, so that a logout holds after a restart and in the other copy of a webserver during a
deploy: there within `REFRESH_SECONDS`, here at once. An entry is forgotten when the session would have ended by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import wait
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from dagster_apollo.silent_database import ask, missing_limits

REFRESH_SECONDS = 2.0
# So long the database may take to answer, and so long somebody waits for another's look into it.
ANSWER_SECONDS = 5.0
_TABLE = sa.Table(
    "apollo_ended_sessions",
    sa.MetaData(),
    sa.Column("session_id", sa.String(64), primary_key=True),
    sa.Column("forget_at", sa.Float, nullable=False, index=True),
)


_Answer = TypeVar("_Answer")


class StoreUnavailableError(Exception):
    """The database does not answer, so nobody can say which sessions were ended."""


class EndedSessions:
    """The ended sessions, of which each process keeps a copy.

    Args:
        url: a SQLAlchemy URL; Postgres where there is one, else an SQLite file.
        clock: seconds since 1970.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._url = sa.make_url(url)
        self._engine = self._new_engine()
        self._clock = clock
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._read_at = float("-inf")
        self._has_table = False
        self._silences = 0

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
        with self._held():
            if not self.is_fresh():
                now = self._clock()
                self._known = self._in_time(lambda engine: self._read(engine, now))
                self._read_at = self._clock()

    def end(self, session_id: str, forget_at: float) -> None:
        """End a session, and forget those that have ended by themselves meanwhile. Blocks.

        Args:
            forget_at: when it would have ended by itself, in seconds since 1970.

        Raises:
            StoreUnavailableError: when it could not be written down; in this process it is ended all the same.
        """
        self._known |= {session_id}
        with self._held():
            self._known |= {session_id}  # a look that was under way may have taken its place
            now = self._clock()
            self._in_time(lambda engine: self._write(engine, session_id, forget_at, now))

    def close(self) -> None:
        """Give the connection back."""
        self._engine.dispose()

    def _new_engine(self) -> sa.Engine:
        arguments: Mapping[str, int | str] = {"timeout": 5}
        if self._url.get_backend_name() == "postgresql":
            arguments = missing_limits(self._url, connect_timeout="5", options="-c statement_timeout=5000")
        # One connection, kept: a new one for each look would be what an idle stack does most.
        return sa.create_engine(
            self._url, connect_args=arguments, pool_size=1, max_overflow=0, pool_timeout=5, pool_pre_ping=True
        )

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The lock, unless the database proves silent to whom it is waited for."""
        silences = self._silences
        if not self._lock.acquire(timeout=ANSWER_SECONDS):
            raise StoreUnavailableError("somebody else still waits for the database")
        try:
            # Else all who wait would wait in turn, each for as long.
            if self._silences != silences:
                raise StoreUnavailableError("the database did not answer somebody else")
            yield
        finally:
            self._lock.release()

    def _in_time(self, task: Callable[[sa.Engine], _Answer]) -> _Answer:
        """What the database answers, unless it takes too long."""
        engine = self._engine
        answer = ask(lambda: task(engine), "ended-sessions")
        if wait([answer], ANSWER_SECONDS).not_done:
            self._silences += 1
            # Its one connection may be dead for long; the thread ends when the connection's own limits do.
            self._engine = self._new_engine()
            engine.dispose()
            raise StoreUnavailableError("no answer in time")
        try:
            return answer.result()
        except SQLAlchemyError as error:
            # The driver's message may hold the address; its kind is enough, and the rest is in Dagster's own logs.
            raise StoreUnavailableError(type(error).__name__) from None

    def _read(self, engine: sa.Engine, now: float) -> frozenset[str]:
        self._make_table(engine)
        with engine.connect() as connection:
            rows = connection.execute(sa.select(_TABLE.c.session_id).where(_TABLE.c.forget_at >= now))
            return frozenset(row[0] for row in rows)

    def _write(self, engine: sa.Engine, session_id: str, forget_at: float, now: float) -> None:
        self._make_table(engine)
        try:
            with engine.begin() as connection:
                connection.execute(_TABLE.delete().where(_TABLE.c.forget_at < now))
                connection.execute(_TABLE.insert().values(session_id=session_id, forget_at=forget_at))
        except IntegrityError:
            return  # it was ended before

    def _make_table(self, engine: sa.Engine) -> None:
        if self._has_table:
            return
        try:
            _TABLE.metadata.create_all(engine)
        except (IntegrityError, OperationalError, ProgrammingError):
            # The other copy made it in the same moment: `IF NOT EXISTS` does not guard against that.
            if not sa.inspect(engine).has_table(_TABLE.name):
                raise
        self._has_table = True
