"""From dbt's manifest to the part of it that definitions are made of.

`slim` keeps the fields that dagster-dbt reads, a half to a quarter of the whole, and puts right what real projects
bring and dagster-dbt stumbles over: tests that stand on several parents, on ephemeral models, on disabled ones; unit
tests; sources that one of the project's own nodes fills. Pure: a dictionary goes in, another comes out. How nodes
are named as assets is `translation.py`; making the manifest is `preparation.py`.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Node = dict[str, Any]

ASSET_TYPES = ("model", "seed", "snapshot")
# A unit test becomes a node of this prefix, so that everything that handles tests handles it.
UNIT_TEST_PREFIX = "test."

_NODE_FIELDS = (
    "unique_id",
    "resource_type",
    "name",
    "alias",
    "package_name",
    "path",
    "original_file_path",
    "fqn",
    "database",
    "schema",
    "identifier",
    "source_name",
    "description",
    "meta",
    "tags",
    "group",
    "version",
    "latest_version",
    "checksum",
    "attached_node",
    "relation_name",
    "freshness",
    "loaded_at_field",
    "access",
    "test_metadata",
)
# Left out of a node's config: what is long, or of no use to a selection. What is empty is left out anyway.
_CONFIG_LEFT_OUT = ("docs", "pre-hook", "post-hook", "quoting", "column_types", "persist_docs", "packages")
_COLUMN_FIELDS = ("name", "data_type", "description", "tags")


def slim(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest that definitions are made of.

    Args:
        manifest: dbt's `manifest.json` (schema version 12).

    Returns:
        A manifest in dbt's own form that dagster-dbt can load, with `apollo` beside it: which sources are filled by
        which nodes, and which tests stand on no node at all.
    """
    nodes = {
        unique_id: _slim_node(node)
        for unique_id, node in manifest["nodes"].items()
        # A test that refers to a disabled model stays among the nodes, disabled; dbt never runs it.
        if node["resource_type"] in (*ASSET_TYPES, "test") and node["config"].get("enabled", True)
    }
    sources = {unique_id: _slim_node(node) for unique_id, node in manifest["sources"].items()}
    nodes |= {UNIT_TEST_PREFIX + key: _unit_test_node(key, test) for key, test in manifest["unit_tests"].items()}
    # dagster-dbt walks through these on its way from a node to its upstream assets.
    passages = {
        kind: {unique_id: _slim_node(node) for unique_id, node in manifest.get(kind, {}).items()}
        for kind in ("metrics", "exposures")
    }
    filled = _filled_sources(nodes, sources)
    known = {*nodes, *sources}
    seeds_first = _seeds_that_fill_unseen(nodes, filled)
    for node in nodes.values():
        parents = [filled.get(parent, parent) for parent in node["depends_on"]["nodes"]]
        node["depends_on"]["nodes"] = list(dict.fromkeys(parent for parent in parents if parent in known))
    unattached = _attach_tests(nodes, sources, filled)
    _name_tests(nodes)
    parent_map = {unique_id: node["depends_on"]["nodes"] for unique_id, node in nodes.items()}
    child_map: dict[str, list[str]] = {unique_id: [] for unique_id in (*nodes, *sources)}
    for unique_id, parents in parent_map.items():
        attached = nodes[unique_id].get("attached_node")
        for parent in dict.fromkeys([*parents, *([attached] if attached else [])]):
            child_map[parent].append(unique_id)
    metadata = manifest["metadata"]
    return {
        "metadata": {
            key: metadata.get(key)
            for key in ("adapter_type", "dbt_version", "dbt_schema_version", "project_name", "project_id")
        },
        "nodes": nodes,
        "sources": sources,
        **passages,
        "groups": manifest.get("groups", {}),
        "semantic_models": {},
        "saved_queries": {},
        "unit_tests": {},
        "functions": {},
        "parent_map": parent_map,
        "child_map": child_map,
        "apollo": {"filled_sources": filled, "seeds_first": seeds_first, "unattached_tests": sorted(unattached)},
    }


def run_id(unique_id: str) -> str:
    """dbt's own unique id of a node of the slim manifest."""
    return unique_id.removeprefix(UNIT_TEST_PREFIX) if unique_id.startswith("test.unit_test.") else unique_id


def slim_id(unique_id: str) -> str:
    """The slim manifest's unique id of a node of dbt's."""
    return UNIT_TEST_PREFIX + unique_id if unique_id.startswith("unit_test.") else unique_id


def is_asset(node: Mapping[str, Any]) -> bool:
    """Whether a node is built into something of its own: an ephemeral model is not."""
    return node["resource_type"] in ASSET_TYPES and node["config"].get("materialized") != "ephemeral"


def runs(node: Mapping[str, Any]) -> bool:
    """Whether `dbt build` has a result for a node: not for an ephemeral model."""
    return node["resource_type"] == "test" or is_asset(node)


def relation(node: Mapping[str, Any]) -> tuple[str, str, str]:
    """The table that a node writes or a source reads, folded as warehouses compare names."""
    name = node.get("identifier") or node.get("alias") or node["name"]
    return (str(node.get("database") or "").lower(), str(node.get("schema") or "").lower(), str(name).lower())


def written_relations(manifest: Mapping[str, Any]) -> dict[tuple[str, str, str], str]:
    """Every table or view that the project writes, with the node that writes it."""
    return {relation(node): node["unique_id"] for node in manifest["nodes"].values() if is_asset(node)}


def _slim_node(node: Mapping[str, Any]) -> Node:
    kept: Node = {key: node[key] for key in _NODE_FIELDS if node.get(key) is not None}
    config = node.get("config") or {}
    kept["config"] = {key: value for key, value in config.items() if value and key not in _CONFIG_LEFT_OUT}
    kept["config"]["enabled"] = True  # dbt's selection passes over what does not say so
    if (version := node.get("version")) is not None:
        kept |= {"is_versioned": True, "is_latest_version": version == node.get("latest_version")}
    kept.setdefault("meta", {})
    kept.setdefault("tags", [])
    kept.setdefault("description", "")
    kept["columns"] = {
        name: {key: column[key] for key in _COLUMN_FIELDS if column.get(key)}
        for name, column in (node.get("columns") or {}).items()
    }
    kept["depends_on"] = {"nodes": list((node.get("depends_on") or {}).get("nodes", []))}
    return kept


def _unit_test_node(unique_id: str, test: Mapping[str, Any]) -> Node:
    """A unit test as a data test on its model: dbt runs it before the model and skips the model when it fails."""
    model = next((node for node in test["depends_on"]["nodes"]), None)
    node = _slim_node({**test, "config": {**(test.get("config") or {}), "severity": "error"}})
    return {
        **node,
        "unique_id": UNIT_TEST_PREFIX + unique_id,
        "resource_type": "test",
        "attached_node": model,
        "depends_on": {"nodes": [model] if model else []},
        "description": test.get("description") or f"Unit test of {test['model']}",
    }


def find_cycle(nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Nodes of dbt's manifest that depend on each other in a circle, the first one repeated at the end; else nothing.

    `dbt parse` lets a circle pass; only what builds the graph stumbles over it.
    """
    done: set[str] = set()
    for start in nodes:
        stack = [(start, iter(_parents(nodes, start)))] if start not in done else []
        path = [key for key, _ in stack]
        while stack:
            parent = next(stack[-1][1], None)
            if parent is None:
                done.add(path.pop())
                stack.pop()
            elif parent in path:
                return [*path[path.index(parent) :], parent][::-1]
            elif parent not in done:
                path.append(parent)
                stack.append((parent, iter(_parents(nodes, parent))))
    return []


def _parents(nodes: Mapping[str, Mapping[str, Any]], unique_id: str) -> list[str]:
    return [key for key in (nodes[unique_id].get("depends_on") or {}).get("nodes", []) if key in nodes]


def _ancestors(start: str, nodes: Mapping[str, Node], filled: Mapping[str, str]) -> set[str]:
    """Everything above a node, through sources that nodes fill."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        parents = {filled.get(key, key) for key in nodes[waiting.pop()]["depends_on"]["nodes"]} & nodes.keys()
        waiting += parents - found
        found |= parents
    return found


def _filled_sources(nodes: Mapping[str, Node], sources: Mapping[str, Node]) -> dict[str, str]:
    """Sources that are tables of the project's own: the lineage then goes through, instead of ending twice.

    A node that reads what it writes, itself or by way of others, would be its own ancestor: such a source stays apart.
    """
    writers = {relation(node): unique_id for unique_id, node in nodes.items() if is_asset(node)}
    filled: dict[str, str] = {}
    for unique_id, source in sources.items():
        if writer := writers.get(relation(source)):
            above = {writer} | _ancestors(writer, nodes, filled)
            if not any(unique_id in nodes[key]["depends_on"]["nodes"] for key in above):
                filled[unique_id] = writer
    return filled


def _seeds_that_fill_unseen(nodes: Mapping[str, Node], filled: Mapping[str, str]) -> list[str]:
    """Seeds that fill a source whose readers do not depend on them: dbt would not load those first."""
    unseen = set()
    for unique_id, node in nodes.items():
        seeds = {filled[parent] for parent in node["depends_on"]["nodes"] if filled.get(parent, "").startswith("seed.")}
        if seeds:
            unseen |= seeds - _ancestors(unique_id, nodes, {})
    return sorted(unseen)


def _attach_tests(nodes: Mapping[str, Node], sources: Mapping[str, Node], filled: Mapping[str, str]) -> list[str]:
    """Give every test one node that it is a check on; return those that stand on none."""
    children: dict[str, list[str]] = defaultdict(list)
    for unique_id, node in nodes.items():
        for parent in node["depends_on"]["nodes"]:
            children[parent].append(unique_id)
    ranks = _ranks(nodes)
    unattached = []
    for unique_id, node in nodes.items():
        if node["resource_type"] != "test":
            continue
        named = node.get("attached_node")
        parents = node["depends_on"]["nodes"]
        carriers = _carriers(filled.get(named, named), nodes, sources, children) if named else []
        around = [carrier for parent in parents for carrier in _carriers(parent, nodes, sources, children)]
        # The most downstream one: when it is built, the test's other parents have been.
        chosen = max(carriers or around, key=lambda carrier: (ranks.get(carrier, 0), carrier), default=None)
        if chosen is None:
            unattached.append(unique_id)
        node["attached_node"] = chosen
        # dagster-dbt goes by the only parent first, and by this reference before all else.
        meta = {**(node["config"].get("meta") or {}), **node["meta"]}
        node["config"]["meta"] = {key: value for key, value in meta.items() if key != "dagster"}
        node["meta"] = {"description": node["description"]} if node["description"] else {}  # where it looks for one
        if chosen and chosen not in parents:
            around = [chosen]
        node["depends_on"]["nodes"] = list(dict.fromkeys(around))  # an ephemeral model is nothing to wait for
    return unattached


def _carriers(
    start: str, nodes: Mapping[str, Node], sources: Mapping[str, Node], children: Mapping[str, Iterable[str]]
) -> list[str]:
    """The node itself where it is an asset or a source; for an ephemeral model the nearest assets around it."""
    if start in sources or (start in nodes and is_asset(nodes[start])):
        return [start]
    if start not in nodes:
        return []
    for step in (lambda key: nodes[key]["depends_on"]["nodes"] if key in nodes else [], lambda key: children[key]):
        seen, level = {start}, [start]
        while level:
            level = list(dict.fromkeys(nxt for key in level for nxt in step(key) if nxt not in seen))
            seen.update(level)
            if found := [key for key in level if key in sources or (key in nodes and is_asset(nodes[key]))]:
                return found
    return []


def _ranks(nodes: Mapping[str, Node]) -> dict[str, int]:
    """How far from the sources each node stands."""
    ranks: dict[str, int] = {}
    for start in nodes:
        stack = [start]
        while stack:
            key = stack[-1]
            parents = [parent for parent in nodes[key]["depends_on"]["nodes"] if parent in nodes]
            waiting = [parent for parent in parents if parent not in ranks]
            if waiting and len(stack) <= len(nodes):
                stack.extend(waiting)
                continue
            ranks[key] = 1 + max((ranks.get(parent, 0) for parent in parents), default=0)
            stack.pop()
    return ranks


def _name_tests(nodes: Mapping[str, Node]) -> None:
    """Names that Dagster takes, no two the same on one asset."""
    taken: dict[tuple[str | None, str], str] = {}
    for unique_id in sorted(nodes):
        node = nodes[unique_id]
        if node["resource_type"] != "test":
            continue
        name = dagster_name(node["name"])
        if (node["attached_node"], name) in taken:
            name = f"{name}_{hashlib.sha256(unique_id.encode()).hexdigest()[:8]}"
        taken[node["attached_node"], name] = unique_id
        node["name"] = name


def dagster_name(text: str) -> str:
    """A name of letters, digits and `_`, which is all that Dagster takes in the names of outputs and checks."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text) or "_"


def selection_names(manifest: Mapping[str, Any], unique_ids: Iterable[str]) -> list[str]:
    """dbt's selection of exactly these nodes, one word a node.

    A name is an fqn: dots, and nothing that dbt's selection syntax reads otherwise. Where an fqn is also the
    beginning of another's (a model beside a folder of its name), dbt would select both; a bracketed last letter makes
    it compare the whole.
    """
    beginnings = {
        ".".join(node["fqn"][:end]) for node in _all_nodes(manifest) for end in range(1, len(node["fqn"]))
    }  # fmt: skip
    words = []
    for unique_id in unique_ids:
        node = manifest["nodes"].get(unique_id) or manifest["sources"][unique_id]
        name = ".".join(node["fqn"])
        word = re.sub(r"[^\w.\-]", "?", name)
        if name in beginnings and "?" not in word:
            word = f"{word[:-1]}[{word[-1]}]"
        words.append(f"fqn:{word}")
    return sorted(words)


def source_selection_names(manifest: Mapping[str, Any], source_ids: Iterable[str]) -> list[str]:
    """dbt's selection of exactly these sources, which it does not find by fqn."""
    parts = (
        [manifest["sources"][source_id][key] for key in ("package_name", "source_name", "name")]
        for source_id in source_ids
    )
    return sorted(f"source:{'.'.join(re.sub(r'[^A-Za-z0-9_-]', '?', part) for part in names)}" for names in parts)


def _all_nodes(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from manifest["nodes"].values()
    yield from manifest["sources"].values()
