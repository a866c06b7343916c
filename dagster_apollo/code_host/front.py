"""The front: one gRPC port for all tenants: `python -m dagster_apollo.code_host.front FD`.

An unprivileged user of its own, without Dagster and without tenants' code. Whoever calls must present what is made of
the token that webserver and daemon share with the code host, and name the location. What a location's snapshot holds it
answers from there, what the first process knows it asks of that, and the rest it passes on to the location's server,
which is started when it is needed. Which call is which stands in `calls.py`.
"""

from __future__ import annotations

import contextlib
import hmac
import itertools
import json
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import grpc

from dagster_apollo.code_host import protobuf
from dagster_apollo.code_host.calls import AUTHORIZATION, CALLS, LOCATION, SERVICE, Call
from dagster_apollo.code_host.lines import Line, LineClosed
from dagster_apollo.code_host.snapshots import job_entry, read_entry, repository_entry
from dagster_apollo.code_host.upstreams import (
    LARGEST_MESSAGE_BYTES,
    CallFailed,
    LocationServer,
    NotReached,
    StockUpstream,
    Upstream,
    UpstreamGone,
)
from dagster_apollo.code_host.walls import forbid_looking
from dagster_apollo.host.role import say

# What may be asked of all locations at once, by naming none: a launcher knows of a run its id and this address.
OF_ALL_LOCATIONS = ("CancelExecution", "CanCancelExecution", "GetCurrentRuns")
_THREADS = 256
# Of one location, so that one whose calls hang does not take the threads of all.
MOST_AT_ONCE = 16
# Loading a large tenant's definitions; what waits for it has a time limit of its own.
_AWAKE_SECONDS = 180.0
# Callers that have waited for the front may be there before the first process has said what is served.
_KNOWN_SECONDS = 10.0
_JANITOR_SECONDS = 5.0
_FINISH_SECONDS = 10.0
# As Dagster's own server divides them.
_CHUNK = 4_000_000
# As serdes writes the name of `run_id`.
_RUN_ID = "pipeline_run_id"


@dataclass
class Location:
    """What the front knows of one.

    Attributes:
        name: its name.
        server_id: what tells what it serves now from what it served before.
        snapshot: the file with its replies; None: there is none yet.
        stock: the socket of its own server, where it has one.
        user: whose that has to be; None: tenants have no user of their own.
        upstream: its server, where it is awake.
        calls: how many are with that.
    """

    name: str
    server_id: str | None = None
    snapshot: Path | None = None
    stock: Path | None = None
    user: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    waking: threading.Lock = field(default_factory=threading.Lock)
    upstream: Upstream | None = None
    calls: int = 0
    places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MOST_AT_ONCE))


class FirstProcess:
    """What the first process is asked, from any thread.

    Args:
        line: to it.
    """

    def __init__(self, line: Line) -> None:
        self._line, self._numbers = line, itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[tuple[Mapping[str, Any], tuple[int, ...]]]] = {}

    def ask(
        self, fields: Mapping[str, Any], timeout_seconds: float | None
    ) -> tuple[Mapping[str, Any], tuple[int, ...]]:
        """Ask; what it says, and the descriptors that come along.

        Raises:
            TimeoutError: it does not answer in time.
            LineClosed: it is gone.
        """
        answers: queue.SimpleQueue[tuple[Mapping[str, Any], tuple[int, ...]]] = queue.SimpleQueue()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = answers
            self._line.send({**fields, "id": number})
        try:
            return answers.get(timeout=timeout_seconds)
        except queue.Empty:
            raise TimeoutError from None
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def tell(self, fields: Mapping[str, Any]) -> None:
        """Tell it something that has no answer.

        Raises:
            LineClosed: it is gone.
        """
        with self._lock:
            self._line.send(fields)

    def answered(self, fields: Mapping[str, Any], descriptors: tuple[int, ...]) -> None:
        """Give an answer to whoever waits for it."""
        with self._lock:
            waiting = self._waiting.get(fields["id"])
        if waiting:
            waiting.put((fields, descriptors))
        else:
            for descriptor in descriptors:
                os.close(descriptor)


class Front(grpc.GenericRpcHandler):
    """Answers calls.

    Args:
        first: the first process.
        authorization: what callers must present.
        idle_seconds: after which a server that nobody calls is closed.
    """

    def __init__(self, first: FirstProcess, authorization: str, idle_seconds: float) -> None:
        self._first, self._authorization, self._idle_seconds = first, authorization, idle_seconds
        self._locations: dict[str, Location] = {}
        self._knows = threading.Event()

    def know(self, entries: list[Mapping[str, Any]]) -> None:
        """Take over what the first process says of the locations; a server of an earlier version is let go."""
        for entry in entries:
            location = self._locations.setdefault(entry["name"], Location(entry["name"]))
            location.snapshot = Path(entry["snapshot"]) if entry["snapshot"] else None
            location.stock, location.user = Path(entry["stock"]) if entry["stock"] else None, entry["user"]
            with location.lock:
                changed = location.server_id != entry["server_id"]
                location.server_id = entry["server_id"]
            if changed:
                self.let_go(location.name)
        for gone in self._locations.keys() - {entry["name"] for entry in entries}:
            del self._locations[gone]
        self._knows.set()
        # Only now is it served, and the directory says so: who heard of it before would be refused.
        self._first.tell({"is": "knows", "ids": {name: each.server_id for name, each in self._locations.items()}})

    def let_go(self, name: str) -> None:
        """Have a location's server end when it has answered what it was asked; the next call starts another."""
        if location := self._locations.get(name):
            with location.lock:
                upstream, location.upstream = location.upstream, None
            if upstream:
                self._close(upstream)

    def finish(self, name: str) -> None:
        """Have a tenant's own server end when its runs have."""
        location = self._locations.get(name)
        if location and location.stock:
            path, user = location.stock, location.user

            def ask() -> None:
                with contextlib.suppress(UpstreamGone, CallFailed, TimeoutError):
                    upstream = StockUpstream(path, user)
                    with contextlib.closing(upstream):
                        list(upstream.call("ShutdownServer", b"", _FINISH_SECONDS))

            threading.Thread(target=ask, daemon=True).start()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        service, _, method = str(handler_call_details.method).rpartition("/")
        call = CALLS.get(method)
        if call is None or f"{service}/" != SERVICE:
            return None

        def answer(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            location = self._caller(context, method)
            try:
                yield from self._answer(location, method, call, request, context)
            except (ValueError, OSError, LineClosed) as error:
                _abort(context, grpc.StatusCode.INTERNAL, f"{location.name}: {type(error).__name__}: {error}")

        if call.streams:
            return grpc.unary_stream_rpc_method_handler(answer)

        def one(request: bytes, context: grpc.ServicerContext) -> bytes:
            return b"".join(answer(request, context))

        return grpc.unary_unary_rpc_method_handler(one)

    def retire_idle(self) -> None:
        """Close the servers that nobody has called for a while."""
        for location in list(self._locations.values()):
            with location.lock:
                upstream = location.upstream
                if upstream and not location.calls and (upstream.is_gone or upstream.idle_seconds > self._idle_seconds):
                    upstream.close()
                    location.upstream = None

    def _caller(self, context: grpc.ServicerContext, method: str) -> Location:
        """Whose call it is; refused unless it presents the token."""
        told = {str(key): value for key, value in context.invocation_metadata()}
        presented = told.get(AUTHORIZATION, "")
        if not isinstance(presented, str) or not hmac.compare_digest(presented.encode(), self._authorization.encode()):
            _abort(context, grpc.StatusCode.UNAUTHENTICATED, "APOLLO_CODE_TOKEN is not the code host's")
        name = str(told.get(LOCATION, ""))
        if name:
            self._knows.wait(_KNOWN_SECONDS)
        location = self._locations.get(name)
        if location is None:
            if not name and method in OF_ALL_LOCATIONS:
                return Location(name)
            _abort(context, grpc.StatusCode.NOT_FOUND, f"the code host serves no location {name!r}")
        return location

    def _answer(
        self, location: Location, method: str, call: Call, request: bytes, context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        if location.stock and call.how != "refused" and method != "ReloadCode":  # Dagster's own server only says it did
            yield from self._from_tenant(location, method, call, request, context)
            return
        match call.how:
            case "front":
                yield from _by_itself(location, method, request, context)
            case "snapshot":
                yield from self._from_snapshot(location, method, request, context)
            case "first process":
                yield self._from_first_process(location, method, request, context)
            case "tenant":
                yield from self._from_tenant(location, method, call, request, context)
            case _:
                _abort(context, grpc.StatusCode.UNIMPLEMENTED, f"{method} is not answered here: {call.made_by}")

    def _from_snapshot(
        self, location: Location, method: str, request: bytes, context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        reply = None
        if method in ("ExternalRepository", "StreamingExternalRepository"):
            fields = protobuf.parse(request)
            name = json.loads(protobuf.text(request, 1))["repository_name"]
            if not fields.get(2):  # everything at once: no client of ours asks for it
                yield from self._from_tenant(location, method, CALLS[method], request, context)
                return
            reply = self._read(location, repository_entry(name), context)
        elif method == "ExternalJob":
            name = json.loads(protobuf.text(request, 1))["repository_name"]
            reply = self._read(location, job_entry(name, protobuf.text(request, 2)), context)
        else:
            reply = self._read(location, method, context)
        if reply is None:  # none such, and the tenant's server says so in Dagster's words
            yield from self._from_tenant(location, method, CALLS[method], request, context)
        elif method == "StreamingExternalRepository":
            text = protobuf.text(reply, 1)
            for number, start in enumerate(range(0, len(text), _CHUNK)):
                yield protobuf.number(1, number) + protobuf.string(2, text[start : start + _CHUNK])
        else:
            yield reply

    def _read(self, location: Location, entry: str, context: grpc.ServicerContext) -> bytes | None:
        if location.snapshot is None:
            _abort(context, grpc.StatusCode.UNAVAILABLE, f"the location {location.name} is being prepared")
        try:
            return read_entry(location.snapshot, entry)
        except FileNotFoundError:  # exchanged for another in this moment
            return read_entry(location.snapshot, entry)

    def _from_first_process(
        self, location: Location, method: str, request: bytes, context: grpc.ServicerContext
    ) -> bytes:
        asked: dict[str, Any] = {"do": method, "location": location.name}
        if method in ("StartRun", "CancelExecution", "CanCancelExecution"):
            asked["arguments"] = protobuf.text(request, 1)
            told = json.loads(asked["arguments"])
            asked["run_id"] = str(told.get(_RUN_ID) or told.get("run_id"))
        try:
            answer, _ = self._first.ask(asked, _patience(context))
        except TimeoutError:
            _abort(context, grpc.StatusCode.DEADLINE_EXCEEDED, f"{location.name}: the code host does not answer")
        result = answer.get("result")
        if result and not location.name and (stock := [each for each in list(self._locations.values()) if each.stock]):
            result = self._with_those_of(stock, method, request, str(result))
        return protobuf.string(1, result) if result else b""

    def _with_those_of(self, stock: Sequence[Location], method: str, request: bytes, result: str) -> str:
        """An answer about the runs here, with what the tenants' own servers know of theirs."""
        told = json.loads(result)
        for location in stock:
            assert location.stock is not None  # noqa: S101
            try:
                with contextlib.closing(StockUpstream(location.stock, location.user)) as upstream:
                    theirs = json.loads(protobuf.text(b"".join(upstream.call(method, request, _FINISH_SECONDS)), 1))
            except (UpstreamGone, CallFailed, TimeoutError):
                continue  # it starts, or ends: its runs are in nobody's list meanwhile
            for name, value in theirs.items():
                if isinstance(value, bool):
                    told[name] = told.get(name) or value
                elif name == "current_runs":
                    told[name] = [*told[name], *value]
        return json.dumps(told)

    def _from_tenant(
        self, location: Location, method: str, call: Call, request: bytes, context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        if not location.places.acquire(blocking=False):
            told = f"{MOST_AT_ONCE} calls to {location.name} are at work already"
            _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, told)
        with location.lock:
            location.calls += 1
        try:
            for attempt in (1, 2):
                upstream = self._upstream(location, context)
                # Whole, since what was begun cannot be taken back when the server ends in the middle.
                try:
                    yield from list(upstream.call(method, request, context.time_remaining()))
                    return
                except UpstreamGone as gone:
                    with location.lock:
                        is_known = location.upstream is upstream
                        location.upstream = None if is_known else location.upstream
                    if is_known:
                        self._close(upstream)
                    if attempt == 2 or not (call.again or isinstance(gone, NotReached)):
                        told = f"{location.name}: the tenant's process ended before it had answered {method}"
                        _abort(context, grpc.StatusCode.INTERNAL, told)
                except TimeoutError:
                    _abort(context, grpc.StatusCode.DEADLINE_EXCEEDED, f"{location.name}: {method} takes too long")
                except CallFailed as error:
                    _abort(context, grpc.StatusCode.UNKNOWN, f"{location.name}: {error}")
        finally:
            location.places.release()
            with location.lock:
                location.calls -= 1

    def _upstream(self, location: Location, context: grpc.ServicerContext) -> Upstream:
        # Not under `lock`: that is also taken by who hears the answer that is waited for here.
        is_mine = location.waking.acquire(timeout=_patience(context))
        try:
            if not is_mine:
                raise TimeoutError
            with location.lock:
                if location.upstream and not location.upstream.is_gone:
                    return location.upstream
                if location.stock:
                    location.upstream = StockUpstream(location.stock, location.user)
                    return location.upstream
            told, descriptors = self._first.ask({"do": "serve", "location": location.name}, _patience(context))
            if not descriptors:
                _abort(context, grpc.StatusCode.INTERNAL, f"{location.name}: {told.get('why')}")
            upstream = LocationServer(socket.socket(fileno=descriptors[0]))
            with location.lock:
                location.upstream = upstream
            return upstream
        except TimeoutError:
            _abort(context, grpc.StatusCode.DEADLINE_EXCEEDED, f"{location.name}: its process takes too long to start")
        except NotReached:
            _abort(context, grpc.StatusCode.UNAVAILABLE, f"{location.name}: its server is not there")
        finally:
            if is_mine:
                location.waking.release()

    def _close(self, upstream: Upstream) -> None:
        """Close a server once it has answered what it was asked."""

        def wait() -> None:
            waited = threading.Event()
            while not upstream.is_gone and upstream.idle_seconds == 0.0:
                waited.wait(0.2)
            upstream.close()

        threading.Thread(target=wait, daemon=True).start()


def _by_itself(location: Location, method: str, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    if method == "GetServerId":
        if location.server_id is None:
            _abort(context, grpc.StatusCode.UNAVAILABLE, f"the location {location.name} is being prepared")
        yield protobuf.string(1, location.server_id)
    elif method == "StreamingPing":
        length = protobuf.parse(request).get(1, 0)
        for number in range(min(int(length), 1000) if isinstance(length, int) else 0):
            yield protobuf.number(1, number) + protobuf.string(2, protobuf.text(request, 2))
    else:
        yield protobuf.string(1, protobuf.text(request, 1))


def _patience(context: grpc.ServicerContext) -> float:
    """How long a call may wait for another process: no thread waits for a caller who has gone."""
    left = context.time_remaining()
    return _AWAKE_SECONDS if left is None else max(0.0, min(left, _AWAKE_SECONDS))


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, told: str) -> NoReturn:
    context.abort(code, told)
    raise AssertionError("abort raises")


def serve(line: Line) -> None:
    """Serve until the first process is gone."""
    begin = line.receive()
    assert begin is not None  # noqa: S101
    told = begin.fields
    first = FirstProcess(line)
    front = Front(first, told["authorization"], told["idle_seconds"])
    limits = [("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES)]
    limits += [("grpc.max_send_message_length", LARGEST_MESSAGE_BYTES)]
    # Else a second front would share the port in silence.
    options = [*limits, ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(_THREADS, thread_name_prefix="call"), handlers=[front], options=options)
    bind = f"[{told['bind']}]" if ":" in told["bind"] else told["bind"]
    try:
        server.add_insecure_port(f"{bind}:{told['port']}")
    except RuntimeError as error:
        say(f"the front cannot listen on {bind}:{told['port']}: {error}")
        return
    server.start()
    line.send({"is": "serving"})
    threading.Thread(target=_keep_tidy, args=(front,), name="janitor", daemon=True).start()
    handlers: Mapping[str, Callable[[Any], None]] = {
        "locations": lambda fields: front.know(fields["locations"]),
        "finish": lambda fields: front.finish(fields["location"]),
        "let go": lambda fields: front.let_go(fields["location"]),
    }
    with contextlib.suppress(LineClosed):
        while message := line.receive():
            if message.fields["is"] in handlers:
                handlers[message.fields["is"]](message.fields)
            else:
                first.answered(message.fields, message.descriptors)
    server.stop(None)


def _keep_tidy(front: Front) -> None:
    waited = threading.Event()
    while not waited.wait(_JANITOR_SECONDS):
        front.retire_idle()


def main(descriptor: str) -> None:
    """Serve, and end without waiting for calls that hang."""
    forbid_looking("front")
    serve(Line(socket.socket(fileno=int(descriptor)), takes_descriptors=True))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
