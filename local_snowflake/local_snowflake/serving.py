"""Running a server in the foreground: its port, its ready line, and an orderly end at SIGTERM or SIGINT."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from local_snowflake.engine import Engine
from local_snowflake.root import PortInUseError, locked
from local_snowflake.server import Server
from local_snowflake.settings import Settings

_KEEP_ALIVE_SECONDS = 75
_SHUTDOWN_SECONDS = 2
"""How long requests have for their answer after a signal."""


class _AnnouncedServer(uvicorn.Server):
    """uvicorn's server, which says on stdout when it answers, and cancels what runs before it stops."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            print(f"ready http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)  # noqa: T201

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A statement that is cancelled has an answer; a connection that is cut makes the client try again for minutes.
        self._engine.cancel_all()
        await super().shutdown(sockets=sockets)


def serve(root: Path, account: str, host: str, port: int, databases: Sequence[str], settings: Settings) -> None:
    """Serve an account until a signal; its databases are whole in their files when this returns.

    Args:
        port: 0 takes a free one, which the ready line tells.
        databases: made when they are not there.

    Raises:
        RootInUseError: another process works on the folder.
        PortInUseError: the address can't be bound.
    """
    with locked(root), _listening(host, port) as listener:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        # uvicorn raises the signal again when it has stopped, which would end the process before its data are written
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        engine = Engine(root, account, settings)
        for database in databases:
            if not engine.catalog.has_database(database):
                engine.catalog.add_database(database)
        server = Server(engine)
        config = uvicorn.Config(
            server.app,
            log_level="warning",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        try:
            _AnnouncedServer(config, engine).run(sockets=[listener])
        finally:
            server.close()


def usable_port(host: str, port: int) -> int:
    """The port, or a free one for 0.

    Raises:
        PortInUseError: the address can't be bound.
    """
    with _listening(host, port) as listener:
        return int(listener.getsockname()[1])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free, one in use is not
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortInUseError(
            f"{host}:{port} can't be bound: {error.strerror or error}. Give another --port, or 0 for a free one."
        ) from error
    return listener
