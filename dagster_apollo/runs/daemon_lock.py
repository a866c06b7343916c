"""One daemon acts at a time: it holds the instance's lock from before its start until its threads have ended.

A platform starts the new one while the old one works, and Dagster only logs that. Here the second waits. A daemon that
finds its lock in another's hands, since the database was away, ends at once, whatever it is doing: that one acts now.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from dagster_apollo.runs.database_locks import Held, Locks
from dagster_apollo.runs.kept_lock import KeptLock

LOCK = "daemon"
LOOK_SECONDS = 1.0
# A daemon whose connection broke may act until it has looked for its lock; the next one waits that out.
HANDOVER_SECONDS = 3 * LOOK_SECONDS
# EX_TEMPFAIL of sysexits.h: the platform starts it again, and it waits.
LOST_EXIT_CODE = 75


@contextmanager
def only_daemon(locks: Locks, say: Callable[[str], None], end: Callable[[int], object] = os._exit) -> Iterator[None]:
    """Wait until no other daemon acts, and keep others from acting.

    Args:
        locks: the instance's.
        say: told of whatever takes long.
        end: ends this process without delay, with an exit code.
    """
    held, waited = _wait(locks, say)
    if waited:
        time.sleep(HANDOVER_SECONDS)
        say("the other daemon has ended: this one acts now")

    def look(is_held: bool | None) -> None:
        if is_held is False:
            say("another daemon acts: this one, which had lost the database, ends")
            end(LOST_EXIT_CODE)

    with KeptLock(locks, LOCK, LOOK_SECONDS, look, held):
        yield


def _wait(locks: Locks, say: Callable[[str], None]) -> tuple[Held, bool]:
    waited = False
    while True:
        with contextlib.suppress(SQLAlchemyError):  # the database is away: it is waited for, too
            if held := locks.take(LOCK):
                return held, waited
            if not waited:
                say("another daemon is at work: this one waits until it has ended")
            waited = True
        time.sleep(LOOK_SECONDS)
