"""A program that serves HTTP for the length of a test: started, waited for, asked to end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

START_TIMEOUT_SECONDS = 60.0


@contextmanager
def served(
    command: Sequence[str], environ: Mapping[str, str], url: str, log: Path, status: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program as long as the block lasts.

    Args:
        command: its words.
        environ: its variables beside PATH and HOME.
        url: what it answers when it is ready.
        log: where its output goes.
        status: the answer's status; unset: any.
    """
    given = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command), env={**given, **environ}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + START_TIMEOUT_SECONDS
        while not _answers(url, status):
            told = log.read_text(errors="replace")[-2000:]
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}:\n{told}"
            assert time.monotonic() < end, f"{command[0]} does not answer at {url}:\n{told}"
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _answers(url: str, status: int | None) -> bool:
    try:
        answered = httpx.get(url, trust_env=False, timeout=2).status_code
    except httpx.TransportError:
        return False
    return status is None or answered == status
