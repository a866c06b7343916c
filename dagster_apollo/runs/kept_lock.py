"""Holding a lock for a long time, across a database that goes away and comes back.

A thread looks after it: when the connection has broken it takes the lock again, and when somebody else has it by then
it says so. What that means is for who holds it: `daemon_lock.py`, `liveness.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from dagster_apollo.runs.database_locks import Held, Locks


class KeptLock:
    """A lock that is taken, and taken again; use it as a context manager.

    Args:
        locks: the instance's.
        name: the lock's.
        interval_seconds: how often it is looked at.
        look: called each time, in the thread, with whether the lock is held now; None: the database is away.
        held: the lock, where it was taken already.
    """

    def __init__(
        self,
        locks: Locks,
        name: str,
        interval_seconds: float,
        look: Callable[[bool | None], None],
        held: Held | None = None,
    ) -> None:
        self._locks, self._name, self._interval_seconds, self._look, self._held = (
            locks, name, interval_seconds, look, held,
        )  # fmt: skip
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lock-{name}", daemon=True)

    def __enter__(self) -> KeptLock:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(self._interval_seconds)
        if self._held:
            self._held.release()

    def _keep(self) -> None:
        while True:
            state = self._state()
            if self._ended.is_set():
                return
            self._look(state)
            if self._ended.wait(self._interval_seconds):
                return

    def _state(self) -> bool | None:
        try:
            if self._held and not self._held.still():
                self._held.release()
                self._held = None
            if self._held is None:
                self._held = self._locks.take(self._name)
        except SQLAlchemyError:
            return None
        return self._held is not None
