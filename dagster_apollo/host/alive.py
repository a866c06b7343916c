"""`apollo alive ROLE`: whether a restart of this container would help, asked every few seconds by the platform.

The standard library alone, nothing of this package: Dagster's own checks take seconds of a processor each. What else
is wrong, a database that is away or a tenant that does not load, is `/status`'s to say: no restart mends it.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROLES = ("webserver", "daemon", "code")
HEARTBEAT_FILE = "daemon.alive"
# The daemon touches its file every few seconds; a laptop that wakes up gets the benefit of the doubt.
HEARTBEAT_MAX_AGE_SECONDS = 60.0
_PORTS = {"webserver": "3000", "code": "4000"}
_TIMEOUT_SECONDS = 4.0


def why_not_alive(role: str, environ: Mapping[str, str]) -> str | None:
    """What is dead about a role in this container; None: it lives."""
    if role == "daemon":
        file = heartbeat_file(environ)
        try:
            age = time.time() - file.stat().st_mtime
        except OSError:
            return f"{file} is not there: the daemon has not started"
        return None if age < HEARTBEAT_MAX_AGE_SECONDS else f"the daemon's last sign of life is {age:.0f} s old"
    port = int(environ.get("PORT", "").strip() or _PORTS[role])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/livez")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"127.0.0.1:{port}/livez does not answer: {error}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"127.0.0.1:{port}/livez answers with {status}"


def heartbeat_file(environ: Mapping[str, str]) -> Path:
    """The file that a living daemon touches."""
    return Path(environ.get("APOLLO_STATE_DIR", "").strip() or ".apollo") / HEARTBEAT_FILE


def main(words: list[str]) -> int:
    """The exit code: 0 alive, 1 not, 2 asked wrongly."""
    if len(words) != 1 or words[0] not in ROLES:
        sys.stderr.write(f"which role: {', '.join(ROLES)}?\n")
        return 2
    reason = why_not_alive(words[0], os.environ)
    if reason:
        sys.stderr.write(f"{words[0]} is not alive: {reason}\n")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
