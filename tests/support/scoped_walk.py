"""The walk over the schema (`graphql_walk.py`), as users of the scoped world: what answers tell of a tenant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.support.graphql_walk import SCHEMA, Names, Node, as_text, prune_failing, questions
from tests.support.scoped_world import ALPACA, ZEBRA, World

# What alpaca's own code says of zebra: an asset that it depends on and one that it declares, by their keys, or as the
# inputs of a step are named.
_REFERRED = re.compile(r"\[\\?\"zebra\\?\",\s*\\?\"(depended_on|claimed)\\?\"\]|zebra(/|_+)(depended_on|claimed)\b")


def words_of(tenant: str, text: str) -> set[str]:
    """The words in a text that are a tenant's: all begin with its name."""
    return set(re.findall(rf"{tenant}\w*", text))


def leaked(world: World, answer: str, question: str = "") -> set[str]:
    """The words and ids of zebra in an answer that were not in the question, and that alpaca's code does not say."""
    told = words_of(ZEBRA, _REFERRED.sub("", answer)) | {name for name in world.past[ZEBRA].ids if name in answer}
    return {word for word in told if word not in question}


@dataclass
class Answered:
    """One question, as each of the users was answered it: the text, what it says, and what it could not say."""

    field: str
    question: str
    texts: list[str]
    data: list[Any]
    errors: list[Any]


def walk(world: World, tenant: str, users: list[str], depth: int, most: int) -> list[Answered]:
    """Ask every query field of everything that a tenant's names lead to, as each of the users in turn.

    Every answer on the way is kept, also those that were incomplete; of the last of each, nothing fails any more.
    """
    names = Names(world.past[tenant])
    return [
        answered
        for field, asked in SCHEMA.query_type.fields.items()
        for nodes in questions(names, field, asked, depth, most)
        for answered in _ask(world, names, users, field, nodes)
    ]


def _ask(world: World, names: Names, users: list[str], field: str, nodes: dict[str, Node]) -> list[Answered]:
    asked = []
    while True:
        question = f"{{ {as_text(nodes)} }}"
        responses, bodies = _answers(world, users, question)
        if len({_failed_at(body) for body in bodies}) > 1:  # for one of them alone: it may have been the machine
            responses, bodies = _answers(world, users, question)
        assert all(
            "data" in body and response.status_code != 400 for body, response in zip(bodies, responses, strict=True)
        ), f"the question itself is wrong: {question}: {bodies}"
        errors = [[(error.get("path"), error.get("message")) for error in body.get("errors") or ()] for body in bodies]
        texts = [response.text for response in responses]
        answered = Answered(field, question, texts, [body["data"] for body in bodies], errors)
        asked.append(answered)
        if not prune_failing(nodes, names, bodies):
            return asked


def _answers(world: World, users: list[str], question: str) -> tuple[list[Any], list[dict[str, Any]]]:
    responses = [world.http(user, "POST", "/graphql", json={"query": question}) for user in users]
    return responses, [response.json() for response in responses]


def _failed_at(body: dict[str, Any]) -> str:
    return str(sorted(str(error.get("path")) for error in body.get("errors") or ()))


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """The paths at which two answers differ, without the positions in lists."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            found
            for name in one.keys() | other.keys()
            for found in differences(one.get(name), other.get(name), f"{path}.{name}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [found for left, right in zip(one, other, strict=True) for found in differences(left, right, path)]
    return [] if one == other else [path]


__all__ = ["ALPACA", "ZEBRA", "Answered", "differences", "leaked", "walk", "words_of"]
