"""Waiting out a database that is away, and telling that from a question that is wrong.

A run asks its database now and then; a server that is restarted, or fails over, is away for a minute, and that is no
reason for a run to fail. Only what may be asked twice is asked again: who calls says so. What is not an outage is
raised at once.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import exc

# So long a run waits for its database: longer than a restart or a failover, shorter than somebody's patience.
PATIENCE_SECONDS = 600.0
RETRY_SECONDS = 0.5
# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exceptions, operator intervention (a server
# that ends or starts), too many connections, and transactions that were in each other's way.
_OUTAGE_CLASSES = ("08", "57P")
_OUTAGE_CODES = ("53300", "40001", "40P01")
_Answer = TypeVar("_Answer")


def is_outage(error: BaseException) -> bool:
    """Whether an error says that the database is away, or was in the way, rather than that the question is wrong.

    Args:
        error: as SQLAlchemy raised it, or another one that was raised because of it.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, exc.TimeoutError):  # no connection of the pool was free
            return True
        if isinstance(seen, exc.DBAPIError):
            code = str(getattr(seen.orig, "pgcode", None) or "")
            refused = isinstance(seen, exc.OperationalError) and not code  # no session, so no code
            return seen.connection_invalidated or refused or code.startswith(_OUTAGE_CLASSES) or code in _OUTAGE_CODES
        seen = seen.__cause__ or seen.__context__
    return False


class Patience:
    """Repeats what fails because the database is away, for a time.

    Args:
        seconds: how long, from the first failure on.
        tell: is given a line when the waiting begins and when it ends.
    """

    def __init__(self, seconds: float = PATIENCE_SECONDS, tell: Callable[[str], None] = lambda line: None) -> None:
        self._seconds = seconds
        self._tell = tell
        self._inside = threading.local()

    def call(self, question: Callable[[], _Answer]) -> _Answer:
        """The answer of something that may be asked twice.

        What it asks in turn with the same patience is not repeated by itself: the whole is.

        Raises:
            Exception: what the question raised, if that is no outage, or the time is over.
        """
        if getattr(self._inside, "a_question", False):
            return question()
        self._inside.a_question = True
        try:
            return self._repeated(question)
        finally:
            self._inside.a_question = False

    def patient(self, method: Callable[..., _Answer]) -> Callable[..., _Answer]:
        """A method that may be called twice, as one that waits the database out."""

        @functools.wraps(method)
        def asked(*args: Any, **named: Any) -> _Answer:
            return self.call(lambda: method(*args, **named))

        return asked

    def _repeated(self, question: Callable[[], _Answer]) -> _Answer:
        end: float | None = None
        while True:
            try:
                answer = question()
            except Exception as error:
                if not is_outage(error):
                    raise
                if end is None:
                    end = time.monotonic() + self._seconds
                    self._tell(f"the database is away ({type(error).__name__}); waiting for it")
                elif time.monotonic() >= end:
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                if end is not None:
                    self._tell("the database is back")
                return answer
