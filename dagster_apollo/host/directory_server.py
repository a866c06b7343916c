"""The code host's small HTTP server: `GET /locations` for webserver and daemon, `GET /livez` for the platform.

In a thread of its own and the standard library alone. It is reached from the private network only and says nothing
that is secret.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.host.directory import Directory

_REQUEST_TIMEOUT_SECONDS = 10.0


class DirectoryServer:
    """Answers with what was last shown; use it as a context manager.

    Args:
        host, port: where it listens.
        directory: what it shows first.

    Raises:
        HostError: the port is taken.
    """

    def __init__(self, host: str, port: int, directory: Directory) -> None:
        self._content = directory.to_json()
        outer = self

        class Answers(BaseHTTPRequestHandler):
            timeout = _REQUEST_TIMEOUT_SECONDS
            server_version = "apollo"
            sys_version = ""

            def do_GET(self) -> None:
                known = {"/locations": outer._content, "/livez": b'{"alive": true}'}
                content = known.get(self.path)
                self.send_response(200 if content else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: it is asked every few seconds."""

        try:
            self._server = ThreadingHTTPServer((host, port), Answers)
        except OSError as error:
            remedy = "Stop what listens there, or set PORT to another."
            raise HostError([Problem(f"PORT={port}", f"cannot be listened on: {error.strerror}", remedy)]) from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="directory", daemon=True)

    def show(self, directory: Directory) -> None:
        """Answer with this from now on."""
        self._content = directory.to_json()

    def __enter__(self) -> DirectoryServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
