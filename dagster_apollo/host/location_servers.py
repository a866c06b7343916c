"""Dagster's gRPC server of a code location, and what keeps those of one tenant where it has several.

A tenant is one unit: its locations share user, folder and environment, and when the server of one is killed all are
ended, for the code host to start them anew. It imports neither Dagster nor the tenant's code: it only waits.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dagster_apollo.execution.process import end_with_parent
from dagster_apollo.host.role import LOCATION_VARIABLE, say

# A server that was told to end by a person, in the UI, is started again after this.
AGAIN_SECONDS = 1.0


def server_command(host: str, location: str, port: str) -> list[str]:
    """The words of one location's gRPC server."""
    command = [str(Path(sys.executable).parent / "dagster"), "api", "grpc", "--lazy-load-user-code"]
    command += ["--host", host, "--port", port, "--location-name", location]
    return [*command, "-m", "dagster_apollo.host.code_location"]


def serve(environ: Mapping[str, str], host: str, open_until_drained: int, ports: Sequence[tuple[str, str]]) -> int:
    """Serve each location from a child until all were told to end, or one ended otherwise.

    Args:
        environ: the tenant's variables.
        host: the address to listen on.
        open_until_drained: a descriptor whose other end the code host closes before it asks the servers to end.
        ports: location and port of each.

    Returns:
        The exit code: that of a server that did not end well, else 0.
    """
    serving = [(_start(environ, host, location, port), location, port) for location, port in ports]
    while serving:
        # Looked at without being taken: each `Popen` takes its own.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        ended = next((entry for entry in serving if entry[0].poll() is not None), None)
        if ended is None:
            os.wait()  # not one of these
            continue
        serving.remove(ended)
        process, location, port = ended
        code = process.returncode
        draining = bool(select.select([open_until_drained], [], [], 0)[0])
        if code and not draining:
            say(f"{location}: its server ended with {code}; the tenant's others are started again with it")
            return code if code > 0 else 128 - code
        if not draining:
            time.sleep(AGAIN_SECONDS)
            serving.append((_start(environ, host, location, port), location, port))
    return 0


def _start(environ: Mapping[str, str], host: str, location: str, port: str) -> subprocess.Popen[bytes]:
    command = server_command(host, location, port)
    own = {**environ, LOCATION_VARIABLE: location}
    # It ends with this process, and this one with the code host.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=own, preexec_fn=end_with_parent)


def main(host: str, open_until_drained: str, *ports: str) -> None:
    """Serve what `location=port` name, with this process's environment."""
    end_with_parent()
    named = [(location, port) for location, _, port in (entry.partition("=") for entry in ports)]
    sys.exit(serve(dict(os.environ), host, int(open_until_drained), named))


if __name__ == "__main__":
    main(*sys.argv[1:])
