"""Asks gRPC code servers to take no new run and to end once those in flight have: `python -m … HOST PORT…`.

Dagster's own call for it, made without Dagster: with the bytes of an empty message, which is all that it takes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import grpc

from dagster_apollo.host.role import say

# `ShutdownServer(Empty)` of dagster/_grpc/protos/dagster_api.proto.
METHOD = "/api.DagsterApi/ShutdownServer"
_TIMEOUT_SECONDS = 10.0


def ask_to_finish(host: str, ports: Sequence[int]) -> list[int]:
    """Ask each; the ports of those that did not answer."""
    address = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
    silent = []
    for port in ports:
        with grpc.insecure_channel(f"{address}:{port}") as channel:
            try:
                channel.unary_unary(METHOD)(b"", timeout=_TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                say(f"the code server on port {port} cannot be asked to end: {error.code().name}")
                silent.append(port)
    return silent


if __name__ == "__main__":
    ask_to_finish(sys.argv[1], [int(word) for word in sys.argv[2:]])
