"""What dbt is told to do follows from what is wanted, word by word."""

from __future__ import annotations

import pytest

from dagster_apollo.execution import arguments
from dagster_apollo.execution.arguments import Build


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Build(), ["build"]),
        (
            Build(["fqn:shop.a", "fqn:shop.b"]),
            ["build", "--select", "fqn:shop.a", "fqn:shop.b", "--indirect-selection", "empty"],
        ),
        (Build(full_refresh=True), ["build", "--full-refresh"]),
        (Build(variables={"day": "2026-01-01", "b": 1, "a": [True, None]}),
         ["build", "--vars", '{"a": [true, null], "b": 1, "day": "2026-01-01"}']),
        (Build(target="dev"), ["build", "--target", "dev"]),
        (
            Build(["fqn:a"], True, {"x": 1}, "dev"),
            ["build", "--select", "fqn:a", "--indirect-selection", "empty", "--vars", '{"x": 1}', "--target", "dev",
             "--full-refresh"],
        ),
    ],
)  # fmt: skip
def test_a_build_names_its_nodes_and_tests_and_infers_none(wanted: Build, words: list[str]) -> None:
    assert arguments.build(wanted) == words


def test_seeds_are_loaded_by_name() -> None:
    assert arguments.seed(Build(["fqn:shop.s"], True, {"x": 1}, "dev")) == [
        "seed", "--select", "fqn:shop.s", "--vars", '{"x": 1}', "--target", "dev", "--full-refresh",
    ]  # fmt: skip


def test_freshness_is_of_the_named_sources_or_of_all() -> None:
    assert arguments.freshness([]) == ["source", "freshness"]
    assert arguments.freshness(["source:shop.raw.a", "source:shop.raw.b"]) == [
        "source", "freshness", "--select", "source:shop.raw.a", "source:shop.raw.b",
    ]  # fmt: skip


def test_tests_are_run_by_name() -> None:
    assert arguments.test(["fqn:shop.t"]) == ["test", "--select", "fqn:shop.t", "--indirect-selection", "empty"]


def test_a_selection_of_thousands_is_a_word_a_node() -> None:
    names = [f"fqn:shop.model_{number}" for number in range(5000)]

    words = arguments.build(Build(names))

    assert max(map(len, words)) < 40, "one argument may hold 128 KiB at the most"
    assert words[2:-2] == names
