"""One pool of connections to the instance's database for each process, as wide as the process's part needs.

Dagster opens a connection for every question it asks. Here all its storages, and the compute logs, share an engine that
keeps a few connections and never has more than its bound; one that nobody uses is closed by the server. What all
processes may have at once, against what the server allows, is `connections.py`.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import event, exc

from dagster_apollo.silent_database import with_limits

# So long a thread waits for another's connection.
_WAIT_SECONDS = 10.0
# So long after its last use a connection is taken to be alive.
_TRUSTED_SECONDS = 1.0
_LAST_USE = "apollo_last_use"


@dataclass(frozen=True)
class Width:
    """How many connections a process has.

    Attributes:
        kept: how many it keeps for the next question.
        most: how many it has at once; who needs another waits.
        idle_seconds: after which the server closes one that is kept.
        statement_seconds: the longest statement; None: any.
    """

    kept: int
    most: int
    idle_seconds: int
    statement_seconds: int | None = None


WEBSERVER = Width(kept=3, most=8, idle_seconds=300, statement_seconds=15)
DAEMON = Width(kept=3, most=8, idle_seconds=300)
# A run has its own thread, the one that writes events, and now and then the one that stores what was printed.
RUN = Width(kept=2, most=2, idle_seconds=300)
# A tenant's server, a stock run's process, a command: many of them, each asking now and then. What they have open goes
# with the instance that they asked; longer than a process that gets no processor may take between two statements.
ANY_OTHER = Width(kept=1, most=2, idle_seconds=60)


class Pool:
    """The connections of this process to one database; made when the first is asked for.

    Args:
        url: of a Postgres, with its driver.
    """

    def __init__(self, url: str) -> None:
        self._url = with_limits(url)
        self._width = ANY_OTHER
        self._lock = threading.Lock()
        self._engine: sqlalchemy.Engine | None = None

    @property
    def width(self) -> Width:
        return self._width

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The engine, in which every statement is committed by itself, as Dagster's own are."""
        engine = self._engine
        if engine is None:
            with self._lock:
                engine = self._engine = self._engine or self._made()
        return engine

    def widen(self, width: Width) -> None:
        """Let the process be what it is from now on; connections in use are given back to the pool that was."""
        with self._lock:
            if width != self._width:
                self._width, old, self._engine = width, self._engine, None
                if old is not None:
                    old.dispose()

    def close(self) -> None:
        """Close the connections that are not in use; the next question opens one anew."""
        if self._engine is not None:
            self._engine.dispose()

    def open_connections(self) -> int:
        """How many there are, in use or kept."""
        if self._engine is None:
            return 0
        pool = self._engine.pool
        assert isinstance(pool, sqlalchemy.QueuePool)  # noqa: S101
        return pool.checkedin() + pool.checkedout()

    def leave_to_parent(self) -> None:
        """Forget the connections without a word to the server: in a forked process they are its parent's."""
        self._lock = threading.Lock()
        if self._engine is not None:
            self._engine.dispose(close=False)

    def _made(self) -> sqlalchemy.Engine:
        engine = sqlalchemy.create_engine(
            self._url,
            isolation_level="AUTOCOMMIT",
            pool_size=self._width.kept,
            max_overflow=self._width.most - self._width.kept,
            pool_timeout=_WAIT_SECONDS,
            pool_use_lifo=True,  # so that what is not needed falls idle
        )
        event.listen(engine, "connect", self._begin_session)
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", functools.partial(_be_alive, engine.dialect))
        return engine

    def _begin_session(self, connection: Any, _: object) -> None:
        # By the list of the server's own parameters: before Postgres 14 it has no `idle_session_timeout`.
        wanted = {"idle_session_timeout": f"{self._width.idle_seconds}s"}
        if self._width.statement_seconds is not None:
            wanted["statement_timeout"] = f"{self._width.statement_seconds}s"
        with connection.cursor() as cursor:
            cursor.execute(
                "select set_config(p.name, w.value, false) from pg_settings p"
                " join unnest(%s, %s) as w(name, value) on w.name = p.name",
                (list(wanted), list(wanted.values())),
            )


def _note_use(connection: Any, record: Any) -> None:
    record.info[_LAST_USE] = time.monotonic()


def _be_alive(dialect: sqlalchemy.Dialect, connection: Any, record: Any, _: object) -> None:
    """Replace a connection that the server closed, or that went with it, before it is used.

    SQLAlchemy's own `pool_pre_ping` asks each time; a run would do so hundreds of times.
    """
    if time.monotonic() - record.info.get(_LAST_USE, time.monotonic()) > _TRUSTED_SECONDS:
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise exc.InvalidatePoolError from error


_POOLS: dict[str, Pool] = {}


def pool_of(url: str) -> Pool:
    """This process's pool for a database.

    Args:
        url: of a Postgres, with its driver.
    """
    made = Pool(url)
    pool = _POOLS.setdefault(url, made)
    if pool is made:
        os.register_at_fork(after_in_child=pool.leave_to_parent)
    return pool
