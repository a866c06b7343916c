"""Asks a GraphQL schema everything: each root field, with arguments that name one tenant, and all that is below it.

A field that raises where null is not allowed empties the whole answer, and so would hide what others tell: it is pruned
and the rest is asked again, until nothing fails. What is asked follows from the schema, so an upgrade is asked too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dagster_graphql.schema import create_schema
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    get_named_type,
    is_required_argument,
    is_required_input_field,
)

from tests.support.scoped_world import REPOSITORY, Past, selector

SCHEMA = create_schema().graphql_schema
_LEAVES = (GraphQLScalarType, GraphQLEnumType)


class EnumValue(str):
    """Written without quotes."""


@dataclass
class Node:
    """A field that is asked; what is asked below it by the type that it turns out to be, then by alias."""

    name: str
    arguments: dict[str, Any]
    below: dict[str, dict[str, Node]] | None = None

    def as_text(self) -> str:
        """As GraphQL."""
        given = ", ".join(f"{name}: {literal(value)}" for name, value in self.arguments.items())
        text = f"{self.name}({given})" if given else self.name
        if self.below is None:
            return text
        parts = [f"... on {kind} {{ {as_text(nodes)} }}" for kind, nodes in self.below.items() if nodes]
        return f"{text} {{ __typename {' '.join(parts)} }}"


def as_text(nodes: dict[str, Node]) -> str:
    """A selection."""
    return " ".join(f"{alias}: {node.as_text()}" for alias, node in nodes.items())


def literal(value: Any) -> str:
    """A value as GraphQL writes it."""
    if isinstance(value, EnumValue):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {literal(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return json.dumps(value)


def prune(nodes: dict[str, Node], path: list[str]) -> bool:
    """Take a field away, by its path of aliases; whether it was there."""
    if path[0] not in nodes:
        return False
    if len(path) == 1:
        del nodes[path[0]]
        return True
    below = nodes[path[0]].below or {}
    return any(prune(deeper, path[1:]) for deeper in below.values())


class Names:
    """Values for arguments that name what belongs to one tenant; there are several of most, taken in turns."""

    # Aliases of fields that raise whatever they are asked for: Dagster forgot to say that an argument is required. What
    # one walk has learned spares the next one.
    broken: ClassVar[set[str]] = set()

    def __init__(self, past: Past) -> None:
        tenant = past.tenant
        keys = [{"path": [tenant, name]} for name in ("orders", "joined", "boom", "dynas")]
        if tenant == "zebra":
            keys = [{"path": [tenant, "depended_on"]}, {"path": [tenant, "claimed"]}, *keys]
        runs, backfills = list(past.runs.values()), list(past.backfills.values())
        instigators = [f"{origin}::{chosen}" for origin, chosen, _ in past.instigators.values()]
        ticks = [str(tick) for _, _, tick in past.instigators.values()]
        self.by_type: dict[str, list[Any]] = {
            "AssetCheckHandleInput": [{"assetKey": keys[-4], "name": "check"}],
            "AssetGroupSelector": [selector(tenant, groupName=f"{tenant}_group")],
            "AssetJobKeyInput": [{"jobName": "nightly"}],
            "AssetKeyInput": keys,
            "BulkActionsFilter": [{}],
            "GraphSelector": [selector(tenant, graphName="nightly")],
            "InstigationSelector": [selector(tenant, name=name) for name in past.instigators],
            "JobOrPipelineSelector": [selector(tenant, jobName=name) for name in ("nightly", "partitioned")],
            "JobSelector": [selector(tenant, jobName="nightly")],
            "PartitionSetSelector": [
                {"partitionSetName": "partitioned_partition_set", "repositorySelector": selector(tenant)}
            ],
            "PipelineSelector": [selector(tenant, pipelineName=name) for name in ("nightly", "__ASSET_JOB")],
            "RepositorySelector": [selector(tenant)],
            "ResourceSelector": [selector(tenant, resourceName="resource")],
            "RunConfigData": [{}],
            "RunsFilter": [{"runIds": [run_id]} for run_id in runs] + [{}],
            "ScheduleSelector": [selector(tenant, scheduleName="nightly_schedule")],
            "SensorSelector": [selector(tenant, sensorName="watcher")],
        }
        self.by_name: dict[str, list[Any]] = {
            "assetKey": keys,
            "backfillId": backfills,
            "checkName": ["check"],
            "componentId": [f"{tenant}_component"],
            "concurrencyKey": [f"{tenant}_pool"],
            "configTypeName": ["Any"],
            "dagsterTypeName": ["Any"],
            "defsStateKey": [f"{tenant}_key"],
            "evaluationId": [7],
            "graphName": ["nightly"],
            "handleID": ["step"],
            "id": instigators,
            "invocationName": ["step"],
            "jobName": ["nightly"],
            "limit": [8],
            "locationName": [tenant],
            "logKey": past.log_keys,
            "mode": ["default"],
            "name": ["watcher", f"{tenant}_group"],
            "nodeHandle": ["step"],
            "nodeUniqueId": ["unique"],
            "parentRunId": runs,
            "partition": ["p1"],
            "partitionKey": ["p1"],
            "partitionName": ["p1"],
            "partitionSetName": ["partitioned_partition_set"],
            "partitionsDefName": [f"{tenant}_dynamic"],
            "pipelineName": ["nightly"],
            "prefix": [[tenant]],
            "repositoryID": [past.repository],
            "repositoryLocationName": [tenant],
            "repositoryName": [REPOSITORY],
            "repositoryOriginId": [origin for origin, _, _ in past.instigators.values()],
            "runId": runs,
            "runIds": [[run_id] for run_id in runs],
            "scheduleName": ["nightly_schedule"],
            "sensorName": ["watcher"],
            "snapshotId": list(past.snapshots.values()),
            "solidName": ["step"],
            "stepKey": [f"{tenant}__orders"],
            "stepKeys": [[f"{tenant}__orders"]],
            "tagKey": [f"{tenant}_run_tag"],
            "tagKeys": [[f"{tenant}_run_tag", ".dagster/repository"]],
            "tickId": ticks,
            "tickIds": [ticks],
        }
        # What a cursor is differs from field to field; elsewhere it is a number or a time, which names nobody.
        key = json.dumps([tenant, "orders"])
        of_runs = {"cursor": runs}
        self.by_root: dict[str, dict[str, list[Any]]] = {
            "assetRecordsOrError": {"cursor": [key]},
            "assetsOrError": {"cursor": [key]},
            "partitionBackfillsOrError": {"cursor": backfills},
            "pipelineRunsOrError": of_runs,
            "runIdsOrError": of_runs,
            "runTagsOrError": {"valuePrefix": [tenant]},
            "runsFeedOrError": {"cursor": [json.dumps({"run_cursor": runs[0], "backfill_cursor": backfills[0]})]},
            "runsOrError": of_runs,
            "workspaceLocationEntryOrError": {"name": [tenant]},
        }
        # As far as turns have to go until each name was given once.
        self.turns = max(len(past.runs), len(past.backfills), len(past.log_keys) - 1)

    def value(self, kind: Any, name: str, turn: int, depth: int = 0) -> Any:
        """A value for an argument; None where there is nothing to name."""
        named, bare = get_named_type(kind), kind.of_type if isinstance(kind, GraphQLNonNull) else kind
        if isinstance(bare, GraphQLList):
            if (several := self.by_name.get(name)) and isinstance(several[0], list):
                return several[turn % len(several)]
            if named.name in self.by_type:
                return self.by_type[named.name]
            one = self.value(bare.of_type, name, turn, depth)
            return None if one is None else [one]
        if values := self.by_type.get(named.name) or self.by_name.get(name):
            return values[turn % len(values)]
        if isinstance(named, GraphQLInputObjectType):
            return self._object(named, turn, depth) if depth <= 3 else None
        if isinstance(named, GraphQLEnumType):
            return EnumValue(next(iter(named.values)))
        plain = {"Int": 7, "Boolean": True, "String": "x", "ID": "x", "Float": 1.0}
        return plain.get(named.name) if isinstance(kind, GraphQLNonNull) or named.name in ("Int", "Boolean") else None

    def _object(self, kind: GraphQLInputObjectType, turn: int, depth: int) -> dict[str, Any] | None:
        made = {}
        for name, entry in kind.fields.items():
            value = self.value(entry.type, name, turn, depth + 1)
            if is_required_input_field(entry) and value is None:
                return None
            if value is not None and (is_required_input_field(entry) or self._names(entry, name)):
                made[name] = value
        return made

    def _names(self, entry: GraphQLArgument | GraphQLInputField, name: str) -> bool:
        return name in self.by_name or get_named_type(entry.type).name in self.by_type

    def arguments(
        self, asked: GraphQLField, turn: int, *, only_required: bool, root: str = ""
    ) -> dict[str, Any] | None:
        """Of a field; None where a required one can't be given."""
        given: dict[str, Any] = {}
        for name, argument in asked.args.items():
            required = is_required_argument(argument)
            if only_required and not required:
                continue
            special = self.by_root.get(root, {}).get(name)
            value = special[turn % len(special)] if special else self.value(argument.type, name, turn)
            if value is not None:
                given[name] = value
            elif required:
                return None
        return given

    def leaves_out(self, root: str, asked: GraphQLField) -> list[str]:
        """The arguments of a root field that are never given."""
        given = self.arguments(asked, 0, only_required=False, root=root)
        return [name for name in asked.args if given is None or name not in given]


@dataclass
class Growth:
    """How a selection grows below a root field.

    Attributes:
        depth: how many fields deep.
        most: how many fields at the most.
    """

    names: Names
    turn: int
    depth: int = 3
    most: int = 1500
    _grown: int = field(default=0, init=False)

    def below(self, kind: Any) -> dict[str, dict[str, Node]] | None:
        """All that a type has, as deep as is wanted; a type does not come again below itself."""
        return self._below(kind, self.depth, frozenset())

    def _below(self, kind: Any, depth: int, path: frozenset[str]) -> dict[str, dict[str, Node]] | None:
        named: Any = get_named_type(kind)
        if isinstance(named, _LEAVES):
            return None
        possible = SCHEMA.get_possible_types(named) if hasattr(named, "types") or _is_interface(named) else [named]
        found: dict[str, dict[str, Node]] = {}
        for entry in possible:
            if entry.name in path:
                continue
            nodes: dict[str, Node] = {}
            for name, asked in entry.fields.items():
                alias = f"{entry.name}_{name}"
                node = self._node(alias, name, asked, depth, path | {entry.name})
                if node is not None and self._grown < self.most:
                    self._grown += 1
                    nodes[alias] = node
            found[entry.name] = nodes
        return found

    def _node(self, alias: str, name: str, asked: GraphQLField, depth: int, path: frozenset[str]) -> Node | None:
        is_leaf = isinstance(get_named_type(asked.type), _LEAVES)
        arguments = self.names.arguments(asked, self.turn, only_required=True)
        if arguments is None or (not is_leaf and depth <= 0) or alias in self.names.broken:
            return None
        below = self._below(asked.type, depth - 1, path)
        return None if below is not None and not any(below.values()) else Node(name, arguments, below)


def _is_interface(named: Any) -> bool:
    return type(named).__name__ == "GraphQLInterfaceType"


def questions(names: Names, name: str, asked: GraphQLField, depth: int, most: int) -> Iterator[dict[str, Node]]:
    """A root field with every combination of names that comes up in turns, with all arguments and with the fewest."""
    seen = set()
    for turn in range(names.turns):
        for only_required in (True, False):
            arguments = names.arguments(asked, turn, only_required=only_required, root=name)
            said = json.dumps(arguments, sort_keys=True)
            if arguments is None or said in seen:
                continue
            seen.add(said)
            yield {name: Node(name, arguments, Growth(names, turn, depth, most).below(asked.type))}


def place_of(error: dict[str, Any]) -> list[str]:
    """The fields on the way to an error, without the positions in lists."""
    return [part for part in error.get("path") or () if isinstance(part, str)]


def prune_failing(nodes: dict[str, Node], names: Names, answers: Iterable[dict[str, Any]]) -> bool:
    """Take away what raised in any of the answers; whether there was something, so that it is worth asking again.

    A root field that raised stays: there is nothing left to be asked of it.
    """
    pruned = False
    for answer in answers:
        for error in answer.get("errors") or ():
            path = place_of(error)
            if "required positional argument" in error["message"]:
                names.broken.add(path[-1])
            if len(path) > 1:
                pruned = prune(nodes, path) or pruned
    return pruned
