"""A receiver of OpenLineage events on loopback, and the specification's own schemas to hold the events to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

from tests.support.canned_http import canned_http

SPECIFICATION = Path(__file__).parents[1] / "data/openlineage"
Event = dict[str, Any]


@dataclass
class Receiver:
    """What a receiver has been sent.

    Attributes:
        url: where it listens.
        events: every event, in order.
        status: what it answers.
    """

    url: str = ""
    events: list[Event] = field(default_factory=list)
    status: int = 201

    def of(self, job: str, kind: str) -> Event:
        """The one event of this kind of a job."""
        [found] = [event for event in self.events if event["job"]["name"] == job and event["eventType"] == kind]
        return found

    def kinds(self) -> list[tuple[str, str]]:
        """Job and kind of every event, in order."""
        return [(event["job"]["name"], event["eventType"]) for event in self.events]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens until the block ends."""
    receiver = Receiver()

    def answer(path: str, body: Event) -> tuple[int, Any]:
        assert path == "/api/v1/lineage"
        receiver.events.append(body)
        return receiver.status, {}

    with canned_http(answer) as port:
        receiver.url = f"http://127.0.0.1:{port}"
        yield receiver


def problems_of(event: Event) -> list[str]:
    """Everything in which an event is not what the specification says, its facets included."""
    found = [*_errors(_SCHEMA_OF_RUN_EVENTS, event, "event")]
    for where, facets in _facets(event):
        for name, facet in facets.items():
            url = str(facet.get("_schemaURL")).partition("#")[0]
            if url in _SCHEMAS:
                found += _errors(_SCHEMAS[url], {name: facet}, where)
            elif url.startswith("https://openlineage.io/"):
                found.append(f"{where}.{name}: no schema is kept of {url}")
            else:  # a facet that the specification leaves to others
                found += _errors(_OF_OTHERS.get(Path(url).name, _ANY_FACET), {name: facet}, where)
    return found


def _facets(event: Event) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "run", event["run"].get("facets", {})
    yield "job", event["job"].get("facets", {})
    for side, own in (("inputs", "inputFacets"), ("outputs", "outputFacets")):
        for dataset in event.get(side) or []:
            yield f"{side}: {dataset['name']}", dataset.get("facets", {})
            yield f"{side}: {dataset['name']}", dataset.get(own, {})


def _errors(schema: Mapping[str, Any], value: object, where: str) -> Iterator[str]:
    validator = Draft202012Validator(schema, registry=_REGISTRY, format_checker=FormatChecker())
    for error in validator.iter_errors(value):
        yield f"{where}: {error.json_path}: {error.message}"


def _read(folder: Traversable) -> Iterator[dict[str, Any]]:
    for file in folder.iterdir():
        if file.name.endswith(".json"):
            schema = json.loads(file.read_text(encoding="utf-8"))
            if schema["$schema"].endswith("2020-12/schema"):
                yield schema


_CORE = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
_SCHEMAS = {schema["$id"]: schema for schema in (*_read(SPECIFICATION), *_read(SPECIFICATION / "facets"))}
# Those of OpenLineage's own dbt integration, by the file's name: they refer to each other by addresses that moved.
_OF_OTHERS = {Path(schema["$id"]).name: schema for schema in _read(files("openlineage.common.schema"))}
_ANY_FACET = {"additionalProperties": {"$ref": f"{_CORE}#/$defs/BaseFacet"}}
# Of the older version that some of them refer to they take `BaseFacet`, which is still the same.
_SAME = {"https://openlineage.io/spec/1-0-2/OpenLineage.json": _SCHEMAS[_CORE]}
_REGISTRY: Registry[Any] = Registry().with_resources(
    [(key, Resource.from_contents(schema)) for key, schema in {**_SCHEMAS, **_SAME}.items()]
)
_SCHEMA_OF_RUN_EVENTS = {"$ref": f"{_CORE}#/$defs/RunEvent"}
