"""What processes use: proportional memory (PSS), since what is shared counts once, and processor time.

Read from the kernel for all that a role has started, by whatever user; a process that has ended is what its parent has
waited for. RSS would count what forks share once for each.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Tree:
    """A process and all that came of it, also what another process took over since.

    Attributes:
        first: the process that was started.
        seen: all that were ever found below it.
    """

    first: psutil.Process
    seen: set[psutil.Process] = field(default_factory=set)

    def processes(self) -> list[psutil.Process]:
        """Those that live, the first one at first."""
        for process in (self.first, *self.seen):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.seen |= {process, *process.children(recursive=True)}
        self.seen = {process for process in self.seen if _lives(process)}
        return sorted(self.seen, key=lambda process: (process != self.first, process.pid))


def pss_mb(processes: Iterable[psutil.Process]) -> float:
    """Megabytes (10^6 bytes) of memory, each page divided by those that share it."""
    return sum(_rollup(process.pid, "Pss") for process in processes) / 1e6


def rss_mb(process: psutil.Process) -> float:
    """Megabytes that one process has resident: what its container would count."""
    return process.memory_info().rss / 1e6


def named(processes: Sequence[psutil.Process]) -> list[dict[str, object]]:
    """Each with the name that it gives itself, its words and its memory, the largest first."""
    found: list[dict[str, object]] = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            words = " ".join(Path(word).name if word.startswith("/") else word for word in process.cmdline())[:120]
            found.append({"name": process.name(), "words": words, "pss_mb": round(pss_mb([process]), 1)})
    return sorted(found, key=lambda entry: -float(str(entry["pss_mb"])))


def processor_seconds(processes: Iterable[psutil.Process]) -> float:
    """Processor time that these have used, with that of children whose end they have seen."""
    return sum(_processor_ticks(process.pid) for process in processes) / _TICKS


def shares_of_a_core(
    processes: Callable[[str], Sequence[psutil.Process]], roles: Sequence[str], seconds: float
) -> dict[str, float]:
    """Percent of one core that the processes of each role use in so many seconds from now."""
    before, began = {role: processor_seconds(processes(role)) for role in roles}, time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return {role: 100 * (processor_seconds(processes(role)) - before[role]) / took for role in roles}


@contextmanager
def peak_pss_mb(
    processes: Callable[[], Sequence[psutil.Process]], *, from_nothing: bool = False
) -> Iterator[list[float]]:
    """The most that processes came to use while something went on.

    Args:
        processes: those that live now.
        from_nothing: count all of it, not only what they use beyond what they used before.
    """
    before = 0.0 if from_nothing else pss_mb(processes())
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], pss_mb(processes()) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def _rollup(pid: int, what: str) -> int:
    """Bytes of one line of the kernel's summary; none of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:")), 0)


def _processor_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime: proc(5)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
