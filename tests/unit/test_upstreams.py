"""A tenant's own server as the front calls it: the socket that was there, and no other that its name may lead to."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from dagster_apollo.code_host.upstreams import NotReached, StockUpstream, UpstreamGone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a socket is held by its descriptor on Linux alone")
Serve = Callable[[Path, bytes], grpc.Server]


class _Answering(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._answer)


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers = []

    def start(path: Path, answer: bytes) -> grpc.Server:
        server = grpc.server(ThreadPoolExecutor(2), handlers=[_Answering(answer)])
        server.add_insecure_port(f"unix:{path}")
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop(None)


def ask(upstream: StockUpstream) -> bytes:
    return b"".join(upstream.call("GetServerId", b"", 10))


def test_what_its_name_leads_to_later_is_not_called(tmp_path: Path, serve: Serve) -> None:
    serve(tmp_path / "own.sock", b"own")
    anothers = serve(tmp_path / "another.sock", b"another's")
    upstream = StockUpstream(tmp_path / "own.sock", os.getuid())
    assert ask(upstream) == b"own"

    (tmp_path / "own.sock").unlink()
    (tmp_path / "own.sock").symlink_to(tmp_path / "another.sock")

    assert ask(upstream) == b"own"
    with pytest.raises(NotReached):
        StockUpstream(tmp_path / "own.sock", os.getuid())
    anothers.stop(None)
    upstream.close()


@pytest.mark.parametrize("what", ["nothing", "a file", "another's"])
def test_what_is_no_socket_of_its_own_is_not_called(tmp_path: Path, serve: Serve, what: str) -> None:
    path, user = tmp_path / "0.sock", os.getuid()
    if what == "a file":
        path.touch()
    if what == "another's":
        serve(path, b"")
        user += 1

    with pytest.raises(NotReached):
        StockUpstream(path, user)


def test_it_is_idle_once_it_has_answered_and_leaves_nothing_open(tmp_path: Path, serve: Serve) -> None:
    server = serve(tmp_path / "0.sock", b"")
    upstream = StockUpstream(tmp_path / "0.sock", None)
    parts = upstream.call("GetServerId", b"", 10)
    next(parts)
    assert upstream.idle_seconds == 0.0
    assert list(parts) == []
    assert upstream.idle_seconds > 0.0
    assert is_held(tmp_path / "0.sock")

    server.stop(None).wait()
    with pytest.raises(UpstreamGone):
        ask(upstream)
    upstream.close()

    assert not is_held(tmp_path / "0.sock")


def is_held(path: Path) -> bool:
    links = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # of the listing itself
            links.append(os.readlink(f"/proc/self/fd/{name}"))
    return any(link.startswith(str(path)) for link in links)
