"""What a run has to say, kept for a moment in memory and written together by a thread of its own.

Nothing is known here of events or databases: entries, their sizes, and a function that writes some of them, in order,
once each. What is urgent is waited for. When writing takes long, because the database is away, entries gather up to a
bound; then whoever adds one waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

# So long an entry may wait for others: what a kill can cost, and what a page shows late.
DELAY_SECONDS = 0.05
# An entry is some kilobytes; a run of 100 models comes to two megabytes.
MOST_BYTES = 64 << 20
MOST_AT_ONCE = 500
_Entry = TypeVar("_Entry")


class EventBuffer(Generic[_Entry]):
    """Entries on their way.

    Args:
        write: writes entries in their order; returns when they are there, raises when they cannot be.
        delay_seconds: how long entries gather before they are written.
        most_bytes: how much may wait.
    """

    def __init__(
        self,
        write: Callable[[Sequence[_Entry]], None],
        delay_seconds: float = DELAY_SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._write, self._delay, self._most_bytes = write, delay_seconds, most_bytes
        lock = threading.Lock()
        # Two, so that an entry that is added wakes nobody but a writer that has nothing to do.
        self._work, self._progress = threading.Condition(lock), threading.Condition(lock)
        self._waiting: list[tuple[_Entry, int]] = []
        self._bytes = 0
        # How many entries there have been, how many are done with, and up to which somebody waits.
        self._added = self._done = self._hurried = 0
        self._error: Exception | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="event-buffer", daemon=True)

    def start(self) -> None:
        """Begin to write. Not before a fork: the thread would stay behind."""
        self._thread.start()

    def add(self, entry: _Entry, size: int) -> None:
        """Take an entry; waits only while there is no room.

        Args:
            size: in bytes.
        """
        with self._progress:
            if self._bytes >= self._most_bytes:
                self._hurry()
                self._progress.wait_for(lambda: self._bytes < self._most_bytes)
            if not self._waiting:
                self._work.notify()
            self._waiting.append((entry, size))
            self._bytes += size
            self._added += 1

    def flush(self) -> None:
        """Wait until everything that was added is written. The thread that writes does not wait for itself.

        Raises:
            Exception: what writing raised; once.
        """
        if self.is_writer():
            return
        with self._progress:
            wanted = self._added
            if self._done < wanted:
                self._hurry()
                self._progress.wait_for(lambda: self._done >= wanted)
        self.raise_error()

    def is_writer(self) -> bool:
        """Whether this is the thread that writes."""
        return threading.current_thread() is self._thread

    def raise_error(self) -> None:
        """Raise what writing an entry raised, if it did; once."""
        with self._progress:
            error, self._error = self._error, None
        if error is not None:
            raise error

    def stop(self) -> None:
        """Write what is left and end.

        Raises:
            Exception: what writing raised, unless it was raised before.
        """
        with self._work:
            self._ended = True
            self._work.notify()
        self._thread.join()
        self.raise_error()

    def _hurry(self) -> None:
        self._hurried = self._added
        self._work.notify()

    def _run(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self._waiting or self._ended)
                self._work.wait_for(lambda: self._hurried > self._done or self._ended, self._delay)
                taken = self._waiting[:MOST_AT_ONCE]
            if not taken:
                return
            error = self._written([entry for entry, _ in taken])
            with self._progress:
                del self._waiting[: len(taken)]
                self._bytes -= sum(size for _, size in taken)
                self._done += len(taken)
                self._error = self._error or error
                self._progress.notify_all()

    def _written(self, entries: Sequence[_Entry]) -> Exception | None:
        try:
            self._write(entries)
        except Exception as error:  # raised where somebody waits, or asks
            return error
        return None
