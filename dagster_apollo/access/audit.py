"""What somebody did, one JSON line each: logins, logouts, refused tokens, and every change that is asked of Dagster.

The lines go to the logger `dagster_apollo.audit`, which writes to standard output unless a host has it write elsewhere.
A password, a token or a cookie never comes here: callers pass names and reasons, not what was sent.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from dagster_apollo.access.users import User

LOGGER = "dagster_apollo.audit"
Event = Literal["login", "logout", "session", "token", "request", "mutation"]
Outcome = Literal["ok", "refused", "failed"]
Detail = str | int | float | bool | list[str] | None
# Long enough for every name of ours; what a stranger sent is cut.
_LONGEST = 300


class AuditLog:
    """Writes audit lines.

    Args:
        write: is given each line; without one, they go to the logger.
        clock: the time of now.
    """

    def __init__(
        self, write: Callable[[str], None] | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._write = write or _logger().info
        self._clock = clock

    def record(self, event: Event, outcome: Outcome, user: User | None = None, **details: Detail) -> None:
        """Write one line.

        Args:
            event: what kind of thing happened.
            outcome: whether it was done, refused, or failed.
            user: who did it; None: a stranger.
            details: what else is to be known, such as `reason` and `address`; what is None is left out.
        """
        line: dict[str, Detail] = {
            "audit": event,
            "at": self._clock().isoformat(timespec="milliseconds"),
            "outcome": outcome,
            "user": user.name if user else None,
            "role": user.role if user else None,
            **details,
        }
        self._write(json.dumps({name: _cut(value) for name, value in line.items() if value is not None}))

    def mutation(self, name: str, outcome: Outcome, user: User | None, **details: Detail) -> None:
        """Write the line of a change that was asked of Dagster: `launchRun`, with the tenant it is about."""
        self.record("mutation", outcome, user, mutation=name, **details)


def _cut(value: Detail) -> Detail:
    if isinstance(value, list):
        return [str(entry)[:_LONGEST] for entry in value]
    return value[:_LONGEST] if isinstance(value, str) else value


def _logger() -> logging.Logger:
    logger = logging.getLogger(LOGGER)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger
