"""Messages over a connected socket: fields as JSON and bytes beside them, both of bounded size.

What they mean is said by who sends and who answers: `brokered.py` asks, `host/broker_process.py` answers.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

_SIZES = struct.Struct(">QQ")
# Far above any command's words and variables; and any project's partial parse.
LARGEST_FIELDS, LARGEST_CONTENT = 8 << 20, 128 << 20


def send(connection: socket.socket, fields: Mapping[str, Any], content: bytes = b"") -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone.
    """
    text = json.dumps(fields).encode()
    connection.sendall(_SIZES.pack(len(text), len(content)) + text)
    if content:
        connection.sendall(content)


def receive(connection: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """The next message; None once the other side has closed.

    Raises:
        OSError: the connection broke.
        ValueError: it is no message, or too large a one.
    """
    header = _exactly(connection, _SIZES.size)
    if header is None:
        return None
    fields_size, content_size = _SIZES.unpack(header)
    if fields_size > LARGEST_FIELDS or content_size > LARGEST_CONTENT:
        raise ValueError(f"a message of {fields_size + content_size} bytes, and {LARGEST_CONTENT} are the most")
    text, content = _exactly(connection, fields_size), _exactly(connection, content_size)
    if text is None or content is None:
        return None
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError("a message without fields")
    return fields, content


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    content = bytearray()
    while len(content) < size:
        part = connection.recv(min(1 << 20, size - len(content)))
        if not part:
            return None
        content += part
    return bytes(content)
