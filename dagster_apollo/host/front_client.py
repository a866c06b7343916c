"""How webserver and daemon call the code host's front: with the token, the location's name, and one channel a process.

Dagster's client of a code location sends no metadata that an origin holds, opens a channel for every call, asks every
location for its server's id once a second, and loads every location anew once a minute in the daemon. Here its methods
are exchanged, once, in the process that says so: the directory's long poll (`remote_workspace.py`) tells what has
changed, and what has not is kept. A question before a run is made waits for a code host that is being started again.

Private: `DagsterGrpcClient._channel`, `_get_response` and `_gen_response`,
`GrpcServerCodeLocationOrigin.create_client` and `create_location` and `reload_location`,
`WorkspaceProcessContext._load_location` and `_start_watch_thread`, and making a `CodeLocationEntry`. `tests/contracts/`
holds them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc

from dagster_apollo.code_host.calls import AUTHORIZATION, CALLS, LOCATION, authorization
from dagster_apollo.host.dagster_internals import (
    CodeLocationEntry,
    CodeLocationLoadStatus,
    DagsterGrpcClient,
    DefinitionsSource,
    GrpcServerCodeLocation,
    GrpcServerCodeLocationOrigin,
    SerializableErrorInfo,
    WorkspaceProcessContext,
    max_rx_bytes,
    max_send_bytes,
)

# The class of the error with which Dagster says that a location's server cannot be reached.
UNREACHABLE = "DagsterUserCodeUnreachableError"
# So long a code host that cannot be reached is waited for: a container's start, and its first location's.
RESTART_SECONDS = 30.0
_PAUSE_SECONDS = 0.5


@dataclass
class FrontCalls:
    """The calls of one process to one front.

    Attributes:
        host: the code host's.
        token: what webserver, daemon and code host share.
        ports: of the front there, as the directory says: on any other a tenant's code may listen.
        current_id: the id of what the front serves now of a location; None: not known.
        code_host: which code host is behind the address now; None: not known. During a deploy the old one keeps the
            connections that it has while it drains, and begins nothing any more.
        is_prepared: whether there is anything to ask of a location yet.
        patience_seconds: how long it is waited for by a call that only computes.
    """

    host: str
    token: str = field(repr=False)
    ports: Callable[[], Collection[int]]
    current_id: Callable[[str], str | None]
    code_host: Callable[[], str | None]
    is_prepared: Callable[[str], bool] = lambda location: True
    patience_seconds: float = RESTART_SECONDS
    _channels: dict[str, tuple[str | None, grpc.Channel]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def metadata(self, location: str) -> Sequence[tuple[str, str]]:
        """What goes with every call."""
        return [(AUTHORIZATION, authorization(self.token)), (LOCATION, location)]

    def is_ours(self, origin: object) -> bool:
        """Whether a location is served by this front."""
        return isinstance(origin, GrpcServerCodeLocationOrigin) and origin.host == self.host and origin.socket is None

    def client(self, origin: GrpcServerCodeLocationOrigin) -> DagsterGrpcClient:
        """A client of a location."""
        return DagsterGrpcClient(port=origin.port, host=origin.host, metadata=self.metadata(origin.location_name))

    def location(self, origin: GrpcServerCodeLocationOrigin, instance: Any) -> GrpcServerCodeLocation:
        """A location, loaded now."""
        return GrpcServerCodeLocation(origin, instance=instance, grpc_metadata=self.metadata(origin.location_name))

    def is_front(self, address: str) -> bool:
        """Whether a server's address is this front's."""
        host, _, port = address.rpartition(":")
        return host == self.host and port.isdigit() and int(port) in self.ports()

    def may_be_asked_again(self, address: str, method: str, error: grpc.RpcError, since: float) -> bool:
        """Whether it can do no harm, and may help, to make a call again that failed.

        Args:
            address: whom it was made to.
            method: of Dagster's code-server API.
            error: how it failed.
            since: when it was made first, by `time.monotonic`.
        """
        call = CALLS.get(method)
        is_away = error.code() is grpc.StatusCode.UNAVAILABLE and time.monotonic() - since < self.patience_seconds
        return self.is_front(address) and call is not None and call.again and is_away

    def channel(self, address: str) -> grpc.Channel:
        """The one channel to an address; another once another code host is there."""
        now = self.code_host()
        with self._lock:
            host, kept = self._channels.get(address, (None, None))
            # One that is given up is closed with the last call that uses it.
            if kept is None or (now is not None and host != now):
                limits = [("grpc.max_receive_message_length", max_rx_bytes())]
                limits += [("grpc.max_send_message_length", max_send_bytes())]
                # A front that is started again is called again soon.
                limits += [("grpc.max_reconnect_backoff_ms", 2_000), ("grpc.initial_reconnect_backoff_ms", 200)]
                channel = grpc.insecure_channel(address, options=limits)
                kept = grpc.intercept_channel(channel, _Presenting(authorization(self.token)))
                self._channels[address] = now, kept
            return kept

    def close(self) -> None:
        """Close the channels."""
        with self._lock:
            for _, channel in self._channels.values():
                channel.close()
            self._channels.clear()


class _CallDetails(NamedTuple):
    """What gRPC knows of a call before it is made."""

    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, str]] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Presenting(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Adds what is presented where a client was made without it: a launcher makes one of what a run's tags say."""

    def __init__(self, presented: str) -> None:
        self._with = presented

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._presented(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._presented(details), request)

    def _presented(self, details: Any) -> Any:
        told = list(details.metadata or ())
        if any(key == AUTHORIZATION for key, _ in told):
            return details
        kept = (details.credentials, details.wait_for_ready, details.compression)
        return _CallDetails(details.method, details.timeout, [*told, (AUTHORIZATION, self._with)], *kept)


def being_prepared(origin: GrpcServerCodeLocationOrigin) -> CodeLocationEntry:
    """What is shown of a location that nobody needs to ask for yet: it is loaded as soon as the directory says so."""
    now = time.time()
    return CodeLocationEntry(
        origin=origin,
        code_location=None,
        load_error=SerializableErrorInfo(f"The location {origin.location_name} is being prepared.\n", [], UNREACHABLE),
        load_status=CodeLocationLoadStatus.LOADED,
        display_metadata=origin.get_display_metadata(),
        update_timestamp=now,
        version_key=str(now),
        definitions_source=DefinitionsSource.CODE_SERVER,
    )


@contextmanager
def calling_the_front(calls: FrontCalls) -> Iterator[None]:
    """Have this process call the front as said, as long as the block lasts."""
    origin: Any = GrpcServerCodeLocationOrigin
    context: Any = WorkspaceProcessContext
    client: Any = DagsterGrpcClient
    load_location, start_watching = context._load_location, context._start_watch_thread
    create_client, create_location, reload_location = (
        origin.create_client, origin.create_location, origin.reload_location,
    )  # fmt: skip
    channel, response, awaited_response = client._channel, client._get_response, client._gen_response

    def our_client(self: Any) -> Any:
        return calls.client(self) if calls.is_ours(self) else create_client(self)

    def our_location(self: Any, instance: Any) -> Any:
        return calls.location(self, instance) if calls.is_ours(self) else create_location(self, instance)

    def our_reload(self: Any, instance: Any) -> Any:
        if not calls.is_ours(self):
            return reload_location(self, instance)
        calls.client(self).reload_code(timeout=instance.code_server_reload_timeout)
        return calls.location(self, instance)

    @contextmanager
    def our_channel(self: Any) -> Iterator[grpc.Channel]:
        if calls.is_front(self._server_address):
            yield calls.channel(self._server_address)
        else:
            with channel(self) as made:
                yield made

    def our_response(self: Any, method: str, request: Any, **more: Any) -> Any:
        since = time.monotonic()
        while True:
            try:
                return response(self, method, request, **more)
            except grpc.RpcError as error:
                if not calls.may_be_asked_again(self._server_address, method, error, since):
                    raise
            time.sleep(_PAUSE_SECONDS)

    async def our_awaited_response(self: Any, method: str, request: Any, **more: Any) -> Any:
        since = time.monotonic()
        while True:
            try:
                return await awaited_response(self, method, request, **more)
            except grpc.RpcError as error:
                if not calls.may_be_asked_again(self._server_address, method, error, since):
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    def our_load(self: Any, entry_of: Any, reload: bool) -> CodeLocationEntry:
        workspace = getattr(self, "_current_workspace", None)
        before = workspace.code_location_entries.get(entry_of.location_name) if workspace else None
        if not reload and calls.is_ours(entry_of):
            kept = before if before and before.origin == entry_of and before.code_location else None
            known = calls.current_id(entry_of.location_name)
            if kept and known is not None and known == kept.code_location.server_id:
                return kept  # type: ignore[no-any-return]
            if not calls.is_prepared(entry_of.location_name):
                return kept or being_prepared(entry_of)
        return load_location(self, entry_of, reload)  # type: ignore[no-any-return]

    def our_watching(self: Any, watched: Any) -> None:
        if not calls.is_ours(watched):
            start_watching(self, watched)

    origin.create_client, origin.create_location, origin.reload_location = our_client, our_location, our_reload
    context._load_location, context._start_watch_thread = our_load, our_watching
    client._channel, client._get_response, client._gen_response = our_channel, our_response, our_awaited_response
    try:
        yield
    finally:
        origin.create_client, origin.create_location = create_client, create_location
        origin.reload_location = reload_location
        client._channel, client._get_response, client._gen_response = channel, response, awaited_response
        context._load_location, context._start_watch_thread = load_location, start_watching
        calls.close()
