"""The same work for each of several things, each in a fork of this process, several at a time; imports are shared.

Knows nothing of Dagster, dbt or tenants. What a fork gives up and how it ends is `forking.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dagster_apollo.warm.forking import fork

_Item = TypeVar("_Item")


def each_in_a_fork(work: Callable[[_Item], Any], items: Sequence[_Item], at_once: int) -> list[Any]:
    """Do the work for each item.

    Args:
        work: what a fork does; what it returns comes back as JSON.
        items: for what.
        at_once: so many forks at a time, at the most.

    Returns:
        What was returned for each item, in their order; None where a fork ended without returning, for which it or the
        machine has said why.

    Raises:
        HostError: see `forking.require_forkable`.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(len(items))]
        waiting = deque(zip(items, files, strict=True))
        running: set[int] = set()
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    running.add(fork(_writing(work, *waiting.popleft())))
                running.discard(os.wait()[0])
        finally:
            for pid in running:  # only where this was interrupted
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            for pid in running:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        return [json.loads(file.read_bytes()) if file.exists() else None for file in files]


def _writing(work: Callable[[_Item], Any], item: _Item, file: Path) -> Callable[[], int]:
    def child() -> int:
        returned = json.dumps(work(item))
        made = file.with_suffix(".made")
        made.write_text(returned)
        made.rename(file)  # whole, or not at all
        return 0

    return child
