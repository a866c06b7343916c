"""A TCP proxy on loopback that can fall silent, as a host that vanishes does: nothing is closed or answered."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.ports import free_port


@dataclass
class SilentProxy:
    """A running proxy.

    Attributes:
        port: of 127.0.0.1.
        target: the port that it forwards to.
    """

    port: int
    target: int
    _forwards: threading.Event = field(default_factory=threading.Event)
    _open: list[socket.socket] = field(default_factory=list)

    def fall_silent(self) -> None:
        """Keep and accept connections, and forward nothing; what is open now stays dead for ever."""
        self._forwards.clear()

    def forward(self) -> None:
        """Forward what connects from now on."""
        self._forwards = threading.Event()
        self._forwards.set()

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            self._open.append(client)
            forwards = self._forwards
            if not forwards.is_set():
                continue
            server = socket.create_connection(("127.0.0.1", self.target))
            self._open.append(server)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(*pair, forwards), daemon=True).start()

    def close(self) -> None:
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _pump(source: socket.socket, target: socket.socket, forwards: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(1 << 16):
            if not forwards.is_set():
                return
            target.sendall(content)
        if forwards.is_set():
            target.shutdown(socket.SHUT_WR)


@contextmanager
def silent_proxy(target: int) -> Iterator[SilentProxy]:
    """A proxy in front of a port of 127.0.0.1, forwarding at first."""
    proxy = SilentProxy(free_port(), target)
    proxy.forward()
    with socket.create_server(("127.0.0.1", proxy.port)) as listener:
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        try:
            yield proxy
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            proxy.close()
