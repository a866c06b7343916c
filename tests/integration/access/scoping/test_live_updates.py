"""What a WebSocket tells: subscriptions of runs, of output and of locations, and that a session's end ends them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from dagster._core.remote_representation.grpc_server_state_subscriber import (
    LocationStateChangeEvent,
    LocationStateChangeEventType,
)

from tests.support.graphql_walk import SCHEMA
from tests.support.scoped_walk import leaked
from tests.support.scoped_world import ALPACA, ZEBRA, World

RUN = """subscription($r: ID!) { pipelineRunLogs(runId: $r) { __typename
    ... on PipelineRunLogsSubscriptionSuccess { run { runId tags { key value } }
        messages { __typename ... on MessageEvent { message runId } } }
    ... on PipelineRunLogsSubscriptionFailure { message missingRunId } } }"""
OUTPUT = "subscription($k: [String!]!) { capturedLogs(logKey: $k) { stdout stderr } }"
LOCATIONS = "subscription { locationStateChangeEvents { event { eventType locationName message serverId } } }"


def first_message(
    world: World, user: str, query: str, variables: dict[str, Any], act: Callable[[], None] = lambda: None
) -> str:
    """What is said first on a subscription; `act` is done again and again until something is."""
    heard = threading.Event()

    def act_until_heard() -> None:
        while not heard.wait(0.05):
            act()

    with world.client.websocket_connect("/graphql", subprotocols=["graphql-ws"], headers={"x-user": user}) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}
        socket.send_json({"type": "start", "id": "1", "payload": {"query": query, "variables": variables}})
        actor = threading.Thread(target=act_until_heard)
        actor.start()
        try:
            return json.dumps(socket.receive_json())
        finally:
            heard.set()
            actor.join()


def test_these_are_all_subscriptions() -> None:
    assert set(SCHEMA.subscription_type.fields) == {"pipelineRunLogs", "capturedLogs", "locationStateChangeEvents"}  # type: ignore[union-attr]


@pytest.mark.parametrize("user", ["administrator", "viewer"])
def test_who_sees_everything_is_told_of_every_run(world: World, user: str) -> None:
    past = world.past[ZEBRA]

    assert "zebra_run_value" in first_message(world, user, RUN, {"r": past.runs["nightly"]})
    assert "zebra_printed" in first_message(world, user, OUTPUT, {"k": past.log_keys[-1]})


def test_a_confined_user_is_told_of_his_own_runs_alone(world: World) -> None:
    own, hidden = world.past[ALPACA], world.past[ZEBRA]

    assert "alpaca_run_value" in first_message(world, "confined-viewer", RUN, {"r": own.runs["nightly"]})
    assert "alpaca_printed" in first_message(world, "confined-viewer", OUTPUT, {"k": own.log_keys[-1]})
    for run_id in hidden.runs.values():
        assert leaked(world, first_message(world, "confined-viewer", RUN, {"r": run_id}), run_id) == set()
    for key in hidden.log_keys:
        answer = first_message(world, "confined-viewer", OUTPUT, {"k": key})
        assert leaked(world, answer, json.dumps(key)) == set()


def test_a_confined_user_is_told_of_his_own_locations_alone(world: World) -> None:
    def both_disconnect() -> None:
        for tenant in (ZEBRA, ALPACA):
            kind = LocationStateChangeEventType.LOCATION_DISCONNECTED
            world.process._send_state_event_to_subscribers(
                LocationStateChangeEvent(kind, location_name=tenant, message=f"{tenant}_gone")
            )

    assert "zebra_gone" in first_message(world, "administrator", LOCATIONS, {}, both_disconnect)
    told = first_message(world, "confined-viewer", LOCATIONS, {}, both_disconnect)
    assert "alpaca_gone" in told
    assert leaked(world, told) == set()


def test_queries_and_mutations_over_a_websocket_are_guarded_too(world: World) -> None:
    question = "{ runsOrError { ... on Runs { results { runId } } } }"
    deleting = f'mutation {{ deleteRun(runId: "{world.past[ZEBRA].runs["nightly"]}") {{ __typename }} }}'

    for asked in (question, deleting):
        assert leaked(world, first_message(world, "confined-operator", asked, {}), asked) == set()
    assert world.instance.has_run(world.past[ZEBRA].runs["nightly"])
