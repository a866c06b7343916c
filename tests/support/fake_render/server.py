"""The fake Render on a port of loopback, in a thread of the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.support.fake_render.app import FakeRender
from tests.support.ports import free_port


@contextmanager
def served(fake: FakeRender, port: int | None = None) -> Iterator[FakeRender]:
    """Serve until the block ends; `fake.world.base_url` is where."""
    port = port or free_port()
    fake.world.base_url = f"http://127.0.0.1:{port}"
    config = uvicorn.Config(fake.app, "127.0.0.1", port, log_config=None, access_log=False, server_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the fake Render did not start")
        time.sleep(0.01)
    try:
        yield fake
    finally:
        server.should_exit = True
        thread.join()
