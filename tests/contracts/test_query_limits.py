"""The limits of a GraphQL query, held to what the pages of the installed Dagster ask.

An upgrade whose pages ask for more fails here, by the name of the query, before anybody's page is refused.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import dagster_webserver
import pytest
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    OperationDefinitionNode,
    get_introspection_query,
    parse,
    print_ast,
)

from dagster_apollo.access.scoping import query_limits
from dagster_apollo.access.scoping.query_limits import Extent

BUNDLE = Path(dagster_webserver.__file__).parent / "webapp" / "build"
_LITERAL = r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
# How the compiled page holds a gql`…`: an array of the texts between the fragments that it names.
_TEMPLATE = re.compile(rf"\(\[({_LITERAL}(?:,{_LITERAL})*)\]")
_DEFINITION = re.compile(r"\\n\s*(?:query|mutation|subscription|fragment)\s+\w")
_OPERATION = re.compile(r"\\n\s*(?:query|mutation|subscription)\s+(\w+)")
_SPREAD = re.compile(r"\.\.\.(\w+)")


@cache
def bundle() -> tuple[dict[str, OperationDefinitionNode], dict[str, FragmentDefinitionNode], set[str]]:
    """The operations and fragments of Dagster's pages, and the names of all operations that their text shows."""
    operations: dict[str, OperationDefinitionNode] = {}
    fragments: dict[str, FragmentDefinitionNode] = {}
    names: set[str] = set()
    for file in sorted((BUNDLE / "_next").rglob("*.js")):
        text = file.read_text(encoding="utf-8")
        names.update(_OPERATION.findall(text))
        for found in _TEMPLATE.finditer(text):
            if not _DEFINITION.search(found[1]):
                continue
            for each in parse("".join(ast.literal_eval(f"[{found[1]}]"))).definitions:
                if isinstance(each, FragmentDefinitionNode):
                    fragments[each.name.value] = each
                elif isinstance(each, OperationDefinitionNode) and each.name:
                    operations[each.name.value] = each
    return operations, fragments, names


def refused_by_name() -> dict[str, str]:
    operations, fragments, _ = bundle()
    refused = {}
    for name, operation in operations.items():
        try:
            Extent.of(DocumentNode(definitions=(operation, *fragments.values())))
        except GraphQLError as error:
            refused[name] = error.message
    return refused


def test_every_operation_of_the_pages_is_found_in_the_bundle() -> None:
    operations, fragments, names = bundle()

    assert len(operations) > 100
    assert len(fragments) > 100
    spread = {name for each in [*operations.values(), *fragments.values()] for name in _SPREAD.findall(print_ast(each))}
    assert spread - fragments.keys() == set()
    assert names - operations.keys() == set(), "operations stand in the bundle in another way: read them too"


def test_every_operation_of_the_pages_is_within_the_limits() -> None:
    assert refused_by_name() == {}


def test_every_operation_of_the_pages_is_within_the_limits_with_a_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, margin in {"MAX_DEPTH": 2, "MAX_REPETITIONS": 1, "MAX_SELECTIONS": 1_500, "MAX_NESTING": 20}.items():
        monkeypatch.setattr(query_limits, limit, getattr(query_limits, limit) - margin)

    assert refused_by_name() == {}, "Dagster's pages come near the limits: raise them"


def test_the_standard_introspection_is_within_the_limits() -> None:
    assert query_limits.excess_of(get_introspection_query(input_value_deprecation=True)) is None


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("{ a { b { a { b { a { b } } } } } }", "2 repeated fields"),
        ("{ a { x: b { y: a { z: b { w: a { b } } } } } }", "2 repeated fields"),
        ("{ a { ...F } } fragment F on A { b { a { ... on A { b { a { b } } } } } }", "2 repeated fields"),
        ("{" + "".join(f"f{n} {{" for n in range(15)) + "x" + "}" * 16, "14 fields within"),
        ("{ __schema {" + "ofType {" * 25 + "name" + "}" * 27, "20 fields within"),
        ("{" + "... {" * 60 + "x" + "}" * 61, "50 selections within"),
        ("{" + "a " * 12_000 + "}", "10000 tokens"),
        (
            "{ ...F0 }" + "".join(f"fragment F{n} on A {{ ...F{n + 1} ...F{n + 1} }}" for n in range(30)),
            "3000 fields and fragments",
        ),
    ],
    ids=["circle", "aliases", "fragments", "deep", "introspection", "inline", "tokens", "doubling"],
)
def test_what_asks_for_too_much_is_refused_by_the_limits_name(query: str, limit: str) -> None:
    excess = query_limits.excess_of(query)

    assert excess is not None
    assert limit in excess.message


@pytest.mark.parametrize(
    "query", ["{ a { ...F } } fragment F on A { b ...F }", "{ ...Nowhere }", "{ not GraphQL", "{ a " * 3_000]
)
def test_what_validation_refuses_is_left_to_it(query: str) -> None:
    assert query_limits.excess_of(query) is None
