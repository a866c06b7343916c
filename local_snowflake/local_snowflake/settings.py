"""The time limits of a server, with their defaults, and how the environment overrides them.

Nothing else of the package reads the environment; the command line reads it here once and hands the values down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

PREFIX = "LOCAL_SNOWFLAKE_"


class SettingsError(ValueError):
    """One or more variables of the environment can't be used; the message names all of them."""


@dataclass(frozen=True)
class Settings:
    """Time limits in seconds. Each is overridden by a variable of its name: `LOCAL_SNOWFLAKE_LOCK_TIMEOUT_SECONDS`."""

    lock_timeout_seconds: float = 120.0
    """How long a statement that writes waits for another session's transaction."""

    idle_transaction_seconds: float = 30.0
    """After this long without a statement, a transaction is rolled back when another session waits for its lock."""

    statement_timeout_seconds: float = 600.0
    """The longest a statement may run; `STATEMENT_TIMEOUT_IN_SECONDS` of a session can only make it shorter."""

    session_token_seconds: float = 3600.0
    """The life of a session token; the connector renews it by itself."""

    master_token_seconds: float = 14400.0
    """The life of a master token; when it ends the client has to log in again."""

    synchronous_wait_seconds: float = 30.0
    """After this long a running statement is answered with "in progress", and the client asks again."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings of an environment.

        Raises:
            SettingsError: a variable with the prefix is unknown, or its value is not a positive number.
        """
        known = {PREFIX + field.name.upper(): field.name for field in fields(cls)}
        values: dict[str, float] = {}
        problems: list[str] = []
        for variable, text in sorted(environment.items()):
            if not variable.startswith(PREFIX) or variable == PREFIX + "PYTHON":  # that one is the tests' own
                continue
            if variable not in known:
                problems.append(f"{variable} is not a setting; there are {', '.join(known)}")
                continue
            try:
                seconds = float(text)
            except ValueError:
                seconds = math.nan
            if not (seconds > 0 and math.isfinite(seconds)):
                problems.append(f"{variable} must be a positive number of seconds, not {text!r}")
                continue
            values[known[variable]] = seconds
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(**values)
