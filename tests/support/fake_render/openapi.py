"""Render's OpenAPI description as a judge of requests and answers."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

DATA = Path(__file__).resolve().parents[2] / "data" / "render"


class NotDescribedError(Exception):
    """A request or an answer that Render's description does not allow."""


@cache
def description() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "openapi.json").read_text(encoding="utf-8"))
    return found


@cache
def _components() -> dict[str, Any]:
    # Details of services overlap, so exactly one of them never fits: what counts is that one does.
    text = json.dumps(description()["components"]).replace('"oneOf"', '"anyOf"')
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def problems(schema: dict[str, Any], content: object) -> list[str]:
    """What of the content the schema does not allow."""
    whole = {**json.loads(json.dumps(schema).replace('"oneOf"', '"anyOf"')), "components": _components()}
    validator = Draft202012Validator(whole, format_checker=FormatChecker())
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in validator.iter_errors(content)]


def operation(method: str, path: str) -> tuple[str, dict[str, Any]]:
    """The operation of a request: its path as a template, and what is said of it.

    Raises:
        NotDescribedError: there is none.
    """
    for template, item in description()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) and method.lower() in item:
            return template, item[method.lower()]
    raise NotDescribedError(f"{method} {path} is not described")


def check_request(method: str, path: str, query: dict[str, str], content: object) -> list[str]:
    """What is wrong with a request, in the words of the description."""
    _, said = operation(method, path)
    wrong = []
    known = {p["name"]: p for p in map(_resolved, said.get("parameters", [])) if p["in"] == "query"}
    wrong += [f"unknown parameter {name}" for name in query if name not in known]
    limit = query.get("limit", "1")
    if not limit.isdigit() or not 1 <= int(limit) <= 100:
        wrong.append("limit must be from 1 to 100")
    body = said.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        wrong += problems(body["schema"], content)
        # The description lets unknown fields pass; a client of ours that sends one has misspelt it.
        allowed = body["schema"].get("properties")
        if allowed and isinstance(content, dict):
            wrong += [f"unknown field {name}" for name in content if name not in allowed]
    return wrong


def check_answer(method: str, path: str, status: int, content: object | None) -> list[str]:
    """What is wrong with an answer; `content` is None for an empty body."""
    template, said = operation(method, path)
    told = said["responses"].get(str(status))
    if told is None:
        return [f"{method} {template} never answers {status}"]
    schema = _resolved(told).get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return [] if content is None else [f"{status} of {method} {template} has an empty body"]
    if content is None:
        return [f"{status} of {method} {template} has a body"]
    return problems(schema, content)


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    found: Any = description()
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)
