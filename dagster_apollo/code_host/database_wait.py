"""The wait for the instance's database as the first process knows it: a program, `waiting.py`, and what it came to.

Tenants are prepared meanwhile: nothing of theirs is in the database before a run is, and no run is taken by then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.errors import Problem
from dagster_apollo.settings import Values

_GIVEN = ("DAGSTER_PG_URI", "APOLLO_WAIT_SECONDS", "PATH")
_REMEDY = "Run `apollo migrate`, and see the database's log."


class DatabaseWait:
    """Begun when it is made; on SQLite it is over at once.

    Args:
        environ: everybody's variables.
        values: the settings that they are.
        runs: how many runs there may be here at once, which is told to those who launch them.

    Attributes:
        instance: the instance's id; empty on SQLite; None as long as it is waited for.
        problem: why the wait was in vain.
    """

    def __init__(self, environ: Mapping[str, str], values: Values, runs: int) -> None:
        self.instance: str | None = None
        self.problem: Problem | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False
        if not values["DAGSTER_PG_URI"]:
            self.instance = ""
            return
        given = {name: environ[name] for name in _GIVEN if name in environ}
        command = [sys.executable, "-m", "dagster_apollo.code_host.waiting", str(runs)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=given, cwd=repository_root()
        )

    @property
    def pid(self) -> int | None:
        """Of the program that waits; None: it is over."""
        return self._process.pid if self._process else None

    def ended(self, pid: int, status: int) -> bool:
        """Take note that a process has ended; whether it was this one."""
        process = self._process
        if process is None or process.pid != pid:
            return False
        self._process, process.returncode = None, os.waitstatus_to_exitcode(status)
        assert process.stdout is not None  # noqa: S101
        with process.stdout:
            told = process.stdout.read().decode().strip()
        if process.returncode == 0 and told:
            self.instance = told
        elif not self._is_stopped:
            what = told if process.returncode > 0 and told else f"the wait for it ended with {process.returncode}"
            self.problem = Problem("DAGSTER_PG_URI", what, _REMEDY)
        return True

    def stop(self) -> None:
        """Wait no longer."""
        self._is_stopped = True
        if self._process:
            self._process.terminate()
