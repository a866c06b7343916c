"""A fork that becomes dbt: its variables, folder, output and signals, then the real dbt, then a clean end.

To who reads the pipe it is the program `dbt`. Who forks it is `dbt_parent.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path

from dagster_apollo.execution.process import end_with_parent
from dagster_apollo.warm.dbt_internals import Manifest, close_databases, invoke
from dagster_apollo.warm.dbt_parent import ABANDONED_SECONDS, Request


def be_dbt(
    request: Request,
    output: int,
    manifest: Manifest | None,
    manifest_file: Path,
    debug_events: Collection[str] | None = None,
) -> int:
    """Run one dbt command in this process, to its end.

    Args:
        request: what to do.
        output: the pipe that it prints to.
        manifest: what was parsed; None: dbt parses.
        manifest_file: the same as dbt wrote it.
        debug_events: the names of those debug events that are read; None: all of them.

    Returns:
        The exit code that the program would have.
    """
    parent = os.getppid()
    told_to_end = False

    def end(*_: object) -> None:
        """Cancel the queries, as after an interrupt, and be gone soon whatever becomes of that."""
        nonlocal told_to_end
        told_to_end = True
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(ABANDONED_SECONDS)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    end_with_parent()
    if os.getppid() != parent:
        return 1
    _take_over(output)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    try:
        return invoke(request.words, manifest if request.parsed else None, manifest_file, debug_events)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second interrupt must not keep the database from its end
        with contextlib.suppress(Exception):
            close_databases()
        if told_to_end:
            _end_by_signal()


def _take_over(output: int) -> None:
    """Print to the pipe, errors too; read nothing."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, number)
    os.close(nothing)
    os.close(output)
    # Not those of the warm process, which may have been replaced there.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115


def _end_by_signal() -> None:
    """End as the program would: who reads the exit code knows then that what failed is no fault of the project's."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
