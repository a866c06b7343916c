"""An address that stays while what answers behind it changes: new connections go to the new copy, old ones stay."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any


class Proxy:
    """Forwards TCP from ports of one host to those of a target, which can be switched.

    Args:
        host: where it listens.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self._servers: dict[int, asyncio.Server] = {}
        self._target: str | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def open(self, here: int, there: int) -> None:
        """Forward a port, if it is not forwarded yet."""
        if here not in self._servers:
            self._servers[here] = self._do(self._listen(here, there))

    def switch(self, host: str) -> None:
        """Send new connections to this host."""
        self._target = host

    def close(self) -> None:
        async def stop() -> None:
            for server in self._servers.values():
                server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._do(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self, here: int, there: int) -> asyncio.Server:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                if self._target is not None:
                    back, forth = await asyncio.open_connection(self._target, there)
                    await asyncio.gather(_copy(reader, forth), _copy(back, writer))
            writer.close()

        return await asyncio.start_server(connected, self.host, here)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
