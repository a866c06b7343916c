"""As much of protobuf's wire format as the front needs: strings and small numbers, without the messages' classes.

The numbers of fields are those of dagster/_grpc/protos/dagster_api.proto; a test holds them to Dagster's own classes.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

_VARINT, _LENGTH = 0, 2


def string(field: int, value: str | bytes) -> bytes:
    """One field that is a string."""
    content = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | _LENGTH) + _varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    """One field that is a number; nothing where it is zero, as the format has it."""
    return _varint(field << 3 | _VARINT) + _varint(value) if value else b""


def parse(message: bytes) -> dict[int, bytes | int]:
    """The fields of a message by their numbers.

    Raises:
        ValueError: it is none, or has a field of another kind.
    """
    fields: dict[int, bytes | int] = {}
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        value, at = _read_varint(message, at)
        if key & 7 == _VARINT:
            fields[key >> 3] = value
        elif key & 7 == _LENGTH and at + value <= len(message):
            fields[key >> 3] = message[at : at + value]
            at += value
        else:
            raise ValueError("not a message that is known")
    return fields


def text(message: bytes, field: int) -> str:
    """A field that is a string; empty where it is not there.

    Raises:
        ValueError: the message, or its field, is something else.
    """
    value = parse(message).get(field, b"")
    if not isinstance(value, bytes):
        raise ValueError("a number where a text is expected")
    return value.decode()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a message that breaks off")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
