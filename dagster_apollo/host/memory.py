"""How many runs the memory of this container holds at once. Without Dagster: the code host's first process asks.

What a run takes is a setting, since it depends on the tenants' projects. Who launches runs reads what came of it:
`runs/capacity.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dagster_apollo.settings import Values

# What the code host itself takes, and the most runs that one database is meant for.
_BASE_MB = 300
MOST_RUNS = 20
# https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files, and the same of version 1.
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes", "memory.limit_in_bytes")


@dataclass(frozen=True)
class Capacity:
    """How many runs there may be at once, and why.

    Attributes:
        runs: at least 1.
        why: in words, for the log.
    """

    runs: int
    why: str


def capacity_here(values: Values, cgroup: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> Capacity:
    """How many runs there may be at once on this machine, or in this container.

    Args:
        values: settings.
        cgroup: where control groups are mounted; a container sees its own at the top.
        proc: the kernel's own account.
    """
    if asked := values.integer("APOLLO_MAX_RUNS"):
        return Capacity(asked, f"{_runs(asked)} at once, as APOLLO_MAX_RUNS says")
    each = values.integer("APOLLO_RUN_MEMORY_MB") or 1
    memory_mb, is_limit = _memory_mb(cgroup, proc)
    fitting = (memory_mb - _BASE_MB) // each
    runs = max(1, min(fitting, MOST_RUNS))
    whose = "the container's limit is" if is_limit else "the machine has"
    why = f"{_runs(runs)} at once: {whose} {memory_mb} MB, of which the code host takes {_BASE_MB} and a run {each}"
    if fitting < 1:
        why += "; there is no room for even one: give it more memory"
    elif fitting > MOST_RUNS:
        why += f"; more than {MOST_RUNS} only by APOLLO_MAX_RUNS"
    return Capacity(runs, why)


def _memory_mb(cgroup: Path, proc: Path) -> tuple[int, bool]:
    """The memory that there is, and whether it is a limit of the control group."""
    lines = (proc / "meminfo").read_text().splitlines()
    total = next(int(line.split()[1]) >> 10 for line in lines if line.startswith("MemTotal:"))
    limits = [total]
    for name in _LIMITS:
        file = cgroup / name
        text = file.read_text().strip() if file.is_file() else ""
        if text.isdigit():  # else `max`; version 1 says an enormous number instead
            limits.append(int(text) >> 20)
    return min(limits), min(limits) < total


def _runs(number: int) -> str:
    return f"{number} run{'s' * (number > 1)}"
