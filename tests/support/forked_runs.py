"""Runs in the process table: a run is forked from its tenant's process, what forks dbt from the run, dbt from that."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

RUN, DBT_PARENT, DBT = range(3)


def of_runs(processes: Iterable[psutil.Process], part: int) -> list[psutil.Process]:
    """Those that are one part of a run: all parts have the run's name, and stand below each other.

    Raises:
        psutil.NoSuchProcess: one has ended meanwhile.
    """
    return [process for process in processes if process.name().startswith("run:") and _depth(process) == part]


def _depth(process: psutil.Process) -> int:
    depth, above = 0, process.parent()
    while above is not None and above.name() == process.name():
        depth, above = depth + 1, above.parent()
    return depth
