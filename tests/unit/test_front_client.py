"""How webserver and daemon are connected to the code host, and what they do while nobody is there to answer."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from dagster._grpc.__generated__ import dagster_api_pb2

from dagster_apollo.code_host.calls import AUTHORIZATION, SERVICE
from dagster_apollo.host.dagster_internals import (
    DagsterGrpcClient,
    GrpcServerCodeLocationOrigin,
    WorkspaceProcessContext,
)
from dagster_apollo.host.front_client import UNREACHABLE, FrontCalls, calling_the_front
from tests.support.ports import free_port

ADDRESS = "127.0.0.1:9"
BEFORE_A_RUN, BEGINS_A_RUN = "ExecutionPlanSnapshot", "StartRun"
REQUESTS = {BEFORE_A_RUN: dagster_api_pb2.ExecutionPlanSnapshotRequest, BEGINS_A_RUN: dagster_api_pb2.StartRunRequest}
Ask = Callable[[str], None]


@dataclass
class Known:
    """Which code host the directory was last heard of."""

    code_host: str | None = None


@dataclass
class CodeHost(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every call, or refuses the first few of them.

    Attributes:
        port: where, once it was started.
        refusals: how many calls it has nobody for.
        asked: the calls that reached it.
        presented: what came with them.
    """

    port: int = field(default_factory=free_port)
    refusals: int = 0
    asked: list[str] = field(default_factory=list)
    presented: list[str | None] = field(default_factory=list)
    server: grpc.Server | None = None

    def start(self) -> None:
        self.server = grpc.server(ThreadPoolExecutor(2), handlers=[self])
        self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.asked.append(handler_call_details.method.removeprefix(SERVICE))
            self.presented.append(dict(context.invocation_metadata()).get(AUTHORIZATION))
            if len(self.asked) <= self.refusals:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the location is being prepared")
            return b""  # an answer without a field

        return grpc.unary_unary_rpc_method_handler(answer)

    def client(self) -> DagsterGrpcClient:
        return DagsterGrpcClient(port=self.port, host="127.0.0.1")


@pytest.fixture
def code_host() -> Iterator[CodeHost]:
    made = CodeHost()
    yield made
    if made.server:
        made.server.stop(None)


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def calls(known: Known, code_host: CodeHost) -> Iterator[FrontCalls]:
    made = FrontCalls("127.0.0.1", "token", lambda: {code_host.port}, lambda _: None, lambda: known.code_host)
    yield made
    made.close()


def test_a_code_host_is_called_over_one_channel(known: Known, calls: FrontCalls) -> None:
    known.code_host = "old"

    assert calls.channel(ADDRESS) is calls.channel(ADDRESS)


def test_another_code_host_at_the_address_is_called_over_another_channel(known: Known, calls: FrontCalls) -> None:
    known.code_host = "old"
    before = calls.channel(ADDRESS)
    known.code_host = "new"

    assert calls.channel(ADDRESS) is not before
    assert calls.channel(ADDRESS) is calls.channel(ADDRESS)


def test_while_nobody_knows_which_code_host_is_there_the_channel_is_kept(known: Known, calls: FrontCalls) -> None:
    known.code_host = "old"
    before = calls.channel(ADDRESS)
    known.code_host = None

    assert calls.channel(ADDRESS) is before


@pytest.fixture(params=["awaited", "not awaited"])
def ask(request: pytest.FixtureRequest, calls: FrontCalls, code_host: CodeHost) -> Iterator[Ask]:
    """Makes a call as webserver and daemon do."""

    def awaited(method: str) -> None:
        asyncio.run(code_host.client()._gen_response(method, REQUESTS[method]()))

    def not_awaited(method: str) -> None:
        code_host.client()._get_response(method, REQUESTS[method]())

    with calling_the_front(calls):
        yield awaited if request.param == "awaited" else not_awaited


def test_the_front_is_shown_that_one_knows_the_token_and_another_port_there_nothing(
    calls: FrontCalls, code_host: CodeHost
) -> None:
    of_a_tenant = CodeHost()
    for each in (code_host, of_a_tenant):
        each.start()

    with calling_the_front(calls):
        for each in (code_host, of_a_tenant):
            each.client()._get_response(BEFORE_A_RUN, REQUESTS[BEFORE_A_RUN]())

    [presented] = code_host.presented
    assert presented is not None
    assert "token" not in presented
    assert of_a_tenant.presented == [None]


def test_a_question_before_a_run_is_made_waits_for_a_code_host_that_is_starting(ask: Ask, code_host: CodeHost) -> None:
    in_a_moment = threading.Timer(0.5, code_host.start)
    in_a_moment.start()

    ask(BEFORE_A_RUN)

    in_a_moment.join()
    assert code_host.asked == [BEFORE_A_RUN]


def test_it_is_asked_again_when_nobody_could_answer_it_yet(ask: Ask, code_host: CodeHost) -> None:
    code_host.refusals = 2
    code_host.start()

    ask(BEFORE_A_RUN)

    assert code_host.asked == [BEFORE_A_RUN] * 3


def test_what_may_have_begun_something_is_not_asked_again(ask: Ask, code_host: CodeHost) -> None:
    code_host.refusals = 1
    code_host.start()

    with pytest.raises(grpc.RpcError, match="being prepared"):
        ask(BEGINS_A_RUN)
    assert code_host.asked == [BEGINS_A_RUN]


def test_a_code_host_that_stays_away_is_given_up(ask: Ask, calls: FrontCalls) -> None:
    calls.patience_seconds = 0.3

    with pytest.raises(grpc.RpcError) as refused:
        ask(BEFORE_A_RUN)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_location_that_is_being_prepared_is_shown_as_that_without_a_call(calls: FrontCalls) -> None:
    origin = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="alpha")
    unprepared = replace(calls, is_prepared=lambda location: location != "alpha")
    context: Any = SimpleNamespace()
    loaded = SimpleNamespace(origin=origin, code_location=SimpleNamespace(server_id="old"))

    with calling_the_front(unprepared), warnings.catch_warnings():
        warnings.simplefilter("error")  # a failed call would be warned of, with its traceback
        entry = WorkspaceProcessContext._load_location(context, origin, False)
        context._current_workspace = SimpleNamespace(code_location_entries={"alpha": loaded})
        again = WorkspaceProcessContext._load_location(context, origin, False)

    assert entry.code_location is None
    assert entry.load_error is not None
    assert entry.load_error.message == "The location alpha is being prepared.\n"
    assert entry.load_error.cls_name == UNREACHABLE
    assert again is loaded  # what was there before the code host started again stays on the page
