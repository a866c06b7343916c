"""Whether a stand-in answers yet, and the port that it is given."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Protocol

from dagster_apollo.errors import HostError, Problem

LOOPBACK = "127.0.0.1"
READY_PATH = "/_ready"  # no bucket's name begins like this
READY = 204
START_TIMEOUT_SECONDS = 60.0


class Child(Protocol):
    """A started process."""

    def require_running(self) -> None:
        """Raise if it has ended."""


def wait_until(answers: Callable[[], bool], child: Child, name: str) -> None:
    """Wait for a process that was started.

    Raises:
        HostError: when it ended, or does not answer in time.
    """
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while not answers():
        child.require_running()
        if time.monotonic() > end:
            what = f"did not answer within {START_TIMEOUT_SECONDS:.0f} s"
            raise HostError([Problem(name, what, "Its log is in .apollo/logs.")])
        time.sleep(0.1)


def status_of(url: str) -> int | None:
    """The status of a server's answer; None where there is none."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def free_port(host: str = LOOPBACK) -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
