"""The wait for the instance's database as the first process knows it: a program, `waiting.py`, and what it came to.

Tenants are prepared meanwhile: nothing of theirs is in the database before a run is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.errors import Problem

_GIVEN = ("DAGSTER_PG_URI", "APOLLO_WAIT_SECONDS", "PATH")


class DatabaseWait:
    """Begun when it is made; on SQLite it is over at once.

    Args:
        environ: everybody's variables.
        runs: how many runs there may be here at once, which is told to those who launch them.

    Attributes:
        instance: the instance's id; empty on SQLite; None as long as it is waited for.
        problem: why the wait was in vain.
    """

    def __init__(self, environ: Mapping[str, str], runs: int) -> None:
        self.instance: str | None = None
        self.problem: Problem | None = None
        self._process: subprocess.Popen[bytes] | None = None
        given = {name: environ[name] for name in _GIVEN if environ.get(name)}
        if "DAGSTER_PG_URI" not in given:
            self.instance = ""
            return
        command = [sys.executable, "-m", "dagster_apollo.code_host.waiting", str(runs)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=given, cwd=repository_root()
        )

    def ended(self, pid: int, status: int) -> bool:
        """Take note that a process has ended; whether it was this one."""
        process = self._process
        if process is None or process.pid != pid or process.stdout is None:
            return False
        self._process, process.returncode = None, os.waitstatus_to_exitcode(status)
        with process.stdout:
            *_, told = process.stdout.read().decode().strip().splitlines() or ["it said nothing"]
        if process.returncode == 0:
            self.instance = told
        elif process.returncode > 0:  # else it was told to end
            self.problem = Problem("DAGSTER_PG_URI", told, "Run `apollo migrate`, and see the database's log.")
        return True

    def stop(self) -> None:
        """Wait no longer."""
        if self._process:
            self._process.terminate()
