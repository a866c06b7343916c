"""A tenant's runs as the warm process that forked them sees them: when one is over, and that nothing is left of it.

What happens in a run's process is `run_process.py`. What is to be said of a run that was killed is said elsewhere: the
warm process opens no connection.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dagster_apollo.warm.dbt_parent import ABANDONED_SECONDS
from dagster_apollo.warm.forking import others_in_group

# What the dbt parent gives dbt to cancel its queries, and a moment for itself.
_ENDING_SECONDS = ABANDONED_SECONDS + 1.0


@dataclass(eq=False)
class ForkedRun:
    """A run's process, which is a child of this one and leads a process group.

    Attributes:
        pid: its number, and that of its group.
        run_id: the run.
        runs_dir: where runs have their folders.
    """

    pid: int
    run_id: str
    runs_dir: Path
    _ended_at: float | None = field(default=None, init=False)

    @property
    def is_ending(self) -> bool:
        """Whether it has ended, and what it forked has not been seen to."""
        return self._ended_at is not None

    def reap(self) -> int | None:
        """Whether the run is over; then nothing is left of it, neither its dbt nor its files.

        A dbt whose run was killed is told to end, and given the time for it, since a statement that nobody cancels goes
        on in the warehouse while the run is taken up again.

        Returns:
            Its exit code, negative for a signal; None: it runs, or its dbt is ending.
        """
        # It stays a zombie meanwhile, so that the number of its group cannot be somebody else's.
        if self._ended_at is None:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            self._ended_at = time.monotonic()
        if time.monotonic() - self._ended_at < _ENDING_SECONDS and others_in_group(self.pid):
            return None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        for left in self.runs_dir.glob(f"{self.run_id}-*"):
            shutil.rmtree(left, ignore_errors=True)
        return os.waitstatus_to_exitcode(status)
