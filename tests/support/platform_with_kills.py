"""A platform on which everything may be killed: what there is to kill, and who starts again what nobody else does.

The platform of a container looks after its first process alone. Here that is the test: daemon, code host and Postgres
are started again; whatever else is killed is the code host's to notice.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil

from tests.support.forked_runs import DBT, RUN, of_runs
from tests.support.walled import WalledRoles

# So long Postgres may be away, in seconds.
_AWAY_SECONDS = (0.5, 5.0)


@dataclass(frozen=True)
class Platform:
    """Where the stack runs.

    Attributes:
        roles: the stack.
        tenants: whose processes may be killed.
        chance: decides whatever is left to chance.
    """

    roles: WalledRoles
    tenants: tuple[str, ...]
    chance: random.Random

    @property
    def services(self) -> Mapping[str, Callable[[signal.Signals], str]]:
        """What the platform starts again, and how it is ended; each says what it saw."""
        return {"daemon": self._end_daemon, "code host": self._end_code_host, "Postgres": self._end_postgres}

    @property
    def processes(self) -> Mapping[str, Callable[[], list[psutil.Process]]]:
        """What the code host starts again or accounts for: those that there are now."""
        return {
            "front": lambda: self.roles.code_processes("front"),
            "zygote": lambda: self.roles.code_processes("zygote"),
            "tenant's process": lambda: [p for name in self.tenants for p in self.roles.code_processes(name)],
            "run": lambda: self._of_runs(RUN),
            "dbt": lambda: self._of_runs(DBT),
        }

    def find(self, what: str) -> psutil.Process | None:
        """One of the processes of a kind; None: there is none now."""
        try:
            found = self.processes[what]()
        except psutil.NoSuchProcess:
            return None
        return self.chance.choice(sorted(found, key=lambda process: process.pid)) if found else None

    def kill(self, process: psutil.Process, number: signal.Signals) -> str | None:
        """Signal a process of the code host's; what it is called. None: it has ended by itself."""
        try:
            name = process.name()
        except psutil.NoSuchProcess:
            return None
        self.roles.root.run("kill", f"-{int(number)}", str(process.pid))
        return name

    def _of_runs(self, part: int) -> list[psutil.Process]:
        return [p for name in self.tenants for p in of_runs(self.roles.code_processes(f"run:{name}"), part)]

    def _end_daemon(self, number: signal.Signals) -> str:
        code = self.roles.stop("daemon", number)
        self.roles.start("daemon")
        return f"ended with {code}"

    def _end_code_host(self, number: signal.Signals) -> str:
        below = self.roles.process("code").children(recursive=True)
        code = self.roles.stop("code", number, timeout_seconds=120)
        for process in below:  # as a container's end ends them
            self.roles.root.run("kill", "-9", str(process.pid))
        psutil.wait_procs(below, timeout=30)
        self.roles.start_code()
        return f"ended with {code}"

    def _end_postgres(self, number: signal.Signals) -> str:
        self.roles.postgres.stop(signal.SIGINT if number == signal.SIGTERM else signal.SIGQUIT)
        away = self.chance.uniform(*_AWAY_SECONDS)
        time.sleep(away)
        self.roles.postgres.start()
        return f"away for {away:.1f} s"
