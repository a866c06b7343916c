"""Locks that are seen by every process of one instance, and gone with the process that held them.

On Postgres advisory locks of a session: the server gives one up when the connection breaks, by SIGKILL too, and tells
which are held. On a laptop's SQLite, locked files under DAGSTER_HOME, which the kernel gives up. What is locked is for
those who lock to say; Dagster is not known here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from dagster_apollo.settings import read
from dagster_apollo.silent_database import with_limits

# The first of an advisory lock's two numbers tells ours from other programs'; the second is the name's.
# https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
_OURS = 0x41504F4C
_ATTEMPT_SECONDS = 0.05
# What is done alone takes milliseconds. A process that was stopped in the middle of it must not stop all others.
_LONGEST_WAIT_SECONDS = 30
# A session whose machine is gone says no goodbye: the server finds it out after 25 seconds.
_SESSION = (
    "set tcp_keepalives_idle = 10",
    "set tcp_keepalives_interval = 5",
    "set tcp_keepalives_count = 3",
    "set tcp_user_timeout = 25000",
)


class Held(Protocol):
    """A lock that this process holds."""

    def still(self) -> bool:
        """Whether it is held now: the connection that it hangs on may have broken."""

    def release(self) -> None:
        """Give it up."""


class Locks(Protocol):
    """All locks of an instance."""

    def take(self, name: str) -> Held | None:
        """Take a lock for as long as this process wants it; None while another holds it."""

    def held(self, names: Collection[str]) -> set[str]:
        """Those of the names that some process holds."""

    def alone(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock for a moment; whoever holds it is waited for, for a while.

        Raises:
            SQLAlchemyError: the database is away, or somebody holds the lock for long.
        """


def locks_of(environ: Mapping[str, str], home: Path) -> Locks:
    """The locks of the instance that an environment leads to.

    Args:
        environ: the process's variables.
        home: DAGSTER_HOME, where files serve instead of Postgres.

    Raises:
        SettingsError: DAGSTER_PG_URI is no URL of Postgres.
    """
    url = read({"DAGSTER_PG_URI": environ.get("DAGSTER_PG_URI", "")}).text("DAGSTER_PG_URI")
    return PostgresLocks(url) if url else FileLocks(home / "locks")


def _number(name: str) -> int:
    number = zlib.crc32(name.encode())
    return number - (1 << 32) if number >= 1 << 31 else number


class PostgresLocks:
    """Advisory locks in the instance's database.

    Args:
        url: of a Postgres, with its driver.
    """

    def __init__(self, url: str) -> None:
        self._url = with_limits(url)
        # Of a process's threads one asks at a time, on a connection that is kept.
        self._one_at_a_time = threading.Lock()
        self._shared = sqlalchemy.create_engine(
            self._url,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={"options": f"-c lock_timeout={_LONGEST_WAIT_SECONDS}s"},
        )

    def take(self, name: str) -> Held | None:
        engine = sqlalchemy.create_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
        connection = engine.connect()
        try:
            for setting in _SESSION:
                connection.exec_driver_sql(setting)
            taken = connection.scalar(_TAKE, {"ours": _OURS, "number": _number(name)})
        except BaseException:
            connection.close()
            raise
        if taken:
            return _HeldSession(connection)
        connection.close()
        return None

    def held(self, names: Collection[str]) -> set[str]:
        with self._one_at_a_time, self._shared.connect() as connection:
            numbers = set(connection.scalars(_HELD, {"ours": _OURS}))
        return {name for name in names if zlib.crc32(name.encode()) in numbers}

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        with self._one_at_a_time, self._shared.connect() as connection:
            named = {"ours": _OURS, "number": _number(name)}
            connection.execute(_WAIT, named)
            try:
                yield
            finally:
                try:
                    connection.execute(_GIVE_UP, named)
                except SQLAlchemyError:
                    connection.invalidate()  # broken: the server has given it up


_TAKE = sqlalchemy.text("select pg_try_advisory_lock(:ours, :number)")
_WAIT = sqlalchemy.text("select pg_advisory_lock(:ours, :number)")
_GIVE_UP = sqlalchemy.text("select pg_advisory_unlock(:ours, :number)")
_GIVE_UP_ALL = sqlalchemy.text("select pg_advisory_unlock_all()")
# Locks of two numbers have the objsubid 2: https://www.postgresql.org/docs/current/view-pg-locks.html
_HELD = sqlalchemy.text(
    "select objid::bigint from pg_locks where locktype = 'advisory' and classid = :ours and objsubid = 2 and granted"
    " and database = (select oid from pg_database where datname = current_database())"
)


class _HeldSession:
    def __init__(self, connection: sqlalchemy.Connection) -> None:
        self._connection = connection
        self._broken = False

    def still(self) -> bool:
        if not self._broken:
            try:
                self._connection.exec_driver_sql("select 1")
            except SQLAlchemyError:
                self._broken = True  # for good: asked again, SQLAlchemy would connect anew, without the lock
        return not self._broken

    def release(self) -> None:
        # Before the connection is closed, which the server notices only some time later.
        if not self._broken:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.execute(_GIVE_UP_ALL)
        self._broken = True
        with contextlib.suppress(SQLAlchemyError):
            self._connection.close()


class FileLocks:
    """Locked files of one machine.

    Args:
        folder: made when the first is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, name: str) -> Held | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(name)
        file = path.open("a+")
        if _lock(file):
            return _HeldFile(path, file)
        file.close()
        return None

    def held(self, names: Collection[str]) -> set[str]:
        found = set()
        for name in names:
            path = self._path(name)
            with contextlib.suppress(FileNotFoundError), path.open("r") as file:
                if not _lock(file) and path.exists():
                    found.add(name)
        return found

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        while (held := self.take(name)) is None:
            time.sleep(_ATTEMPT_SECONDS)
        try:
            yield
        finally:
            held.release()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name.replace('/', '-')}.lock"


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0  # else its last holder has just removed it


class _HeldFile:
    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file = path, file

    def still(self) -> bool:
        return not self._file.closed

    def release(self) -> None:
        if not self._file.closed:
            self._path.unlink(missing_ok=True)
            self._file.close()
