"""What a container prints, from the engine's stream of frames to lines.

The engine sends both outputs over one connection, each part with a header. Nothing here knows the engine's library or
what the lines mean; who reads is asked regularly whether there is still a reason to wait.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

_HEADER = struct.Struct(
    ">BxxxL"
)  # https://docs.docker.com/reference/api/engine/#tag/Container/operation/ContainerAttach
_PART_BYTES = 1 << 16
# How often a silent container's time limit is looked at.
TICK_SECONDS = 0.5


def lines_of(attached: socket.socket, while_silent: Callable[[], None]) -> Iterator[str]:
    """The lines of both outputs as they come, until the other side closes.

    Args:
        attached: the connection.
        while_silent: called between parts and every TICK_SECONDS without one; what it raises ends the reading.

    Raises:
        OSError: the connection broke.
    """
    attached.settimeout(TICK_SECONDS)
    begun: dict[int, bytes] = {}
    for output, part in _frames(attached, while_silent):
        *whole, rest = (begun.get(output, b"") + part).split(b"\n")
        begun[output] = rest
        for line in whole:
            yield line.decode("utf-8", "replace").rstrip("\r")
    for rest in begun.values():
        if rest:
            yield rest.decode("utf-8", "replace")


def _frames(attached: socket.socket, while_silent: Callable[[], None]) -> Iterator[tuple[int, bytes]]:
    buffer = bytearray()
    while True:
        while_silent()
        try:
            part = attached.recv(_PART_BYTES)
        except TimeoutError:
            continue
        if not part:
            return
        buffer += part
        while len(buffer) >= _HEADER.size:
            output, length = _HEADER.unpack_from(buffer)
            end = _HEADER.size + length
            if len(buffer) < end:
                break
            yield output, bytes(buffer[_HEADER.size : end])
            del buffer[:end]
