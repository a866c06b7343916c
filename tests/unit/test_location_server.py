"""A location's server answers whatever becomes of what it passes on, and its warm process makes that ready."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from dagster_apollo.code_host import location_process
from dagster_apollo.code_host.dagster_internals import dagster_api_pb2, request_classes
from dagster_apollo.code_host.lines import LARGEST_BYTES, Line, pair
from dagster_apollo.code_host.location_process import LocationProcess
from dagster_apollo.code_host.location_server import Answers
from dagster_apollo.execution import channel

SUBSET, PLAN = "ExternalPipelineSubsetSnapshot", "ExecutionPlanSnapshot"


class Servicer:
    """Answers both calls with one word."""

    def ExternalPipelineSubsetSnapshot(self, request: Any, context: Any) -> Any:
        return dagster_api_pb2.ExternalPipelineSubsetSnapshotReply(serialized_external_pipeline_subset_result="made")

    def ExecutionPlanSnapshot(self, request: Any, context: Any) -> Any:
        return dagster_api_pb2.ExecutionPlanSnapshotReply(serialized_execution_plan_snapshot="made")


@pytest.fixture
def front_and_warm() -> Iterator[tuple[socket.socket, Line]]:
    """The front's and the warm process's ends of a server that answers."""
    front, connection = socket.socketpair()
    ours, theirs = pair()
    answers = Answers(connection, Servicer(), Line(theirs, waits=False))  # type: ignore[arg-type]
    thread = threading.Thread(target=answers.run)
    thread.start()
    front.settimeout(10)
    yield front, Line(ours, waits=False)
    front.close()
    thread.join(10)
    assert not thread.is_alive()


def ask(front: socket.socket, method: str, **fields: str) -> bytes:
    request = request_classes()[method](**fields)
    channel.send(front, {"id": 1, "method": method}, request.SerializeToString())
    [(told, content), (end, _)] = [channel.receive(front) or ({}, b""), channel.receive(front) or ({}, b"")]
    assert (told["is"], end["is"]) == ("part", "end")
    return content


def test_what_is_asked_before_a_run_of_some_assets_is_passed_on(front_and_warm: tuple[socket.socket, Line]) -> None:
    front, warm = front_and_warm

    assert b"made" in ask(front, PLAN, serialized_execution_plan_snapshot_args="{}")
    assert b"made" in ask(front, SUBSET, serialized_pipeline_subset_snapshot_args='{"some": "assets"}')

    passed_on = warm.receive()
    assert passed_on is not None
    assert passed_on.fields == {"arguments": '{"some": "assets"}'}
    assert warm.receive() is None


def test_a_warm_process_that_is_busy_or_gone_keeps_nobody_waiting(front_and_warm: tuple[socket.socket, Line]) -> None:
    front, warm = front_and_warm

    for _ in range(12):  # more than fits in between
        assert b"made" in ask(front, SUBSET, serialized_pipeline_subset_snapshot_args="x" * (LARGEST_BYTES // 4))
    assert b"made" in ask(front, SUBSET, serialized_pipeline_subset_snapshot_args="y" * LARGEST_BYTES)
    warm.close()

    assert b"made" in ask(front, SUBSET, serialized_pipeline_subset_snapshot_args="{}")


def test_the_warm_process_makes_what_its_server_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, str]] = []
    monkeypatch.setattr(location_process, "make_subset", lambda repository, asked: made.append((repository, asked)))
    repository = dg.Definitions().get_repository_def()
    process = LocationProcess(Line(pair()[0]), "acme", SimpleNamespace(definitions_by_name={"r": repository}))  # type: ignore[arg-type]
    server = Line(process._listen_to_server())

    server.send({"arguments": "some assets"})
    process._make_ready()

    assert made == [(repository, "some assets")]


def test_what_a_server_says_wrongly_and_its_end_are_nothing_to_the_warm_process() -> None:
    repository = dg.Definitions().get_repository_def()
    process = LocationProcess(Line(pair()[0]), "acme", SimpleNamespace(definitions_by_name={"r": repository}))  # type: ignore[arg-type]
    server = process._listen_to_server()

    for said in ({"arguments": "no arguments"}, {"something": "else"}):
        Line(server.dup()).send(said)
        process._make_ready()
    assert process._server is not None

    os.write(server.fileno(), b"\xff" * 64)  # no message
    process._make_ready()
    assert process._server is None


def test_only_the_last_server_is_listened_to() -> None:
    process = LocationProcess(Line(pair()[0]), "acme", SimpleNamespace(definitions_by_name={}))  # type: ignore[arg-type]
    first = process._listen_to_server()
    process._listen_to_server()

    first.settimeout(5)
    assert first.recv(1) == b""
