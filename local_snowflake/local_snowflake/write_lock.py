"""One writing session at a time, for the whole account.

DuckDB aborts the second of two transactions that touch one catalogue entry, where Snowflake lets it wait; so a session
takes this lock before its first write and keeps it until its transaction ends. Readers never come here.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

from local_snowflake.errors import SqlError


class Writer(Protocol):
    """What the lock has to know of a session."""

    id: str

    def raise_if_cancelled(self) -> None:
        """Raise when the statement that waits was cancelled or has reached its time limit."""

    def give_up_idle_transaction(self, idle_seconds: float) -> bool:
        """Roll back a transaction that has been without a statement for that long; whether it did."""


class WriteLock:
    """A lock that belongs to a session, not to a thread."""

    def __init__(self, timeout_seconds: float, idle_seconds: float) -> None:
        self.timeout_seconds, self.idle_seconds = timeout_seconds, idle_seconds
        self._changed = threading.Condition()
        self._owner: Writer | None = None

    def acquire(self, writer: Writer) -> None:
        """Wait for the lock; a session that has it already goes on at once.

        Raises:
            SqlError: 625 when it took too long, or what `raise_if_cancelled` raises.
        """
        end = time.monotonic() + self.timeout_seconds
        with self._changed:
            while self._owner is not None and self._owner is not writer:
                if self._owner.give_up_idle_transaction(self.idle_seconds):
                    break
                writer.raise_if_cancelled()
                left = end - time.monotonic()
                if left <= 0:
                    raise SqlError(
                        625,
                        "57014",
                        "Statement was aborted because the number of seconds it waited for a lock "
                        f"({self.timeout_seconds:g}) was exceeded; session {self._owner.id} holds it.",
                    )
                self._changed.wait(min(left, 1))  # a second: the owner's idleness is looked at again
            self._owner = writer

    def release(self, writer: Writer) -> None:
        """Free the lock if the session has it."""
        with self._changed:
            if self._owner is writer:
                self._owner = None
                self._changed.notify_all()

    def wake(self) -> None:
        """Let the sessions that wait look whether they were cancelled."""
        with self._changed:
            self._changed.notify_all()
