"""What one request may ask: a short line of GraphQL that goes in circles through the types, or a body of any size."""

from __future__ import annotations

from collections.abc import Iterator

from dagster_apollo.access.scoping.query_limits import MAX_BODY_BYTES
from tests.support.scoped_world import World

JSON = {"Content-Type": "application/json"}


def in_circles(times: int) -> str:
    inner = "name"
    for _ in range(times):
        inner = f"pipelines {{ repository {{ {inner} }} }}"
    selector = 'repositorySelector: {repositoryLocationName: "alpaca", repositoryName: "__repository__"}'
    return f"{{ repositoryOrError({selector}) {{ ... on Repository {{ {inner} }} }} }}"


def test_a_query_that_goes_in_circles_is_refused_before_it_begins(world: World) -> None:
    answer = world.http("viewer", "POST", "/graphql", json={"query": in_circles(9)})

    assert answer.status_code == 400
    assert "at most 2 repeated fields on one path" in answer.text
    assert answer.json()["data"] is None


def test_a_query_that_goes_round_once_is_answered(world: World) -> None:
    answer = world.http("viewer", "POST", "/graphql", json={"query": in_circles(1)})

    assert answer.status_code == 200
    assert "errors" not in answer.json()


def test_a_larger_body_than_any_of_dagsters_pages_sends_is_refused_by_what_it_announces(world: World) -> None:
    answer = world.http("viewer", "POST", "/graphql", content=b" " * (MAX_BODY_BYTES + 1), headers=JSON)

    assert answer.status_code == 413


def test_a_larger_body_is_refused_by_what_comes_when_nothing_is_announced(world: World) -> None:
    def stream() -> Iterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 100_000 + 1):
            yield b" " * 100_000

    answer = world.http("viewer", "POST", "/graphql", content=stream(), headers=JSON)

    assert answer.status_code == 413
