"""The code host's small HTTP server: `GET /locations` for webserver and daemon, `GET /livez` for the platform.

With `?seen=N` an answer comes once there is another than that one, so that a change is heard of at once and nobody
asks in vain. In a thread of its own and the standard library alone. It is reached from the private network only and
says nothing that is secret, but for a tenant's variables to a run of that tenant which proves that it was launched
elsewhere.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dagster_apollo.code_host.directory import POLL_SECONDS, Directory
from dagster_apollo.errors import HostError, Problem

_REQUEST_TIMEOUT_SECONDS = 10.0


class DirectoryServer:
    """Answers with what was last shown; use it as a context manager.

    Args:
        host, port: where it listens.
        directory: what it shows first.
        of_a_run: what is said to a path and an `Authorization` that are about one run; None: nothing.

    Raises:
        HostError: the port is taken.
    """

    def __init__(
        self,
        host: str,
        port: int,
        directory: Directory,
        of_a_run: Callable[[str, str], bytes | None] = lambda path, authorization: None,
    ) -> None:
        # No number that a client may have seen before this process was started.
        self._started = uuid.uuid4().hex
        self._directory = replace(directory, seen=time.time_ns() // 1_000_000, started=self._started)
        self._changed = threading.Condition()
        outer = self

        class Answers(BaseHTTPRequestHandler):
            timeout = _REQUEST_TIMEOUT_SECONDS
            server_version = "apollo"
            sys_version = ""

            def do_GET(self) -> None:
                address = urlsplit(self.path)
                content = b'{"alive": true}' if address.path == "/livez" else None
                if address.path == "/locations":
                    content = outer._current(parse_qs(address.query).get("seen", [""])[0])
                content = content or of_a_run(self.path, self.headers.get("Authorization", ""))
                self.send_response(200 if content else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                with contextlib.suppress(OSError):  # it has gone while it waited
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
        with self._changed:
            shown = replace(directory, seen=self._directory.seen, started=self._started)
            if shown != self._directory:
                self._directory = replace(shown, seen=shown.seen + 1)
                self._changed.notify_all()

    def _current(self, seen: str) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: str(self._directory.seen) != seen, timeout=POLL_SECONDS)
            return self._directory.to_json()

    def __enter__(self) -> DirectoryServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
