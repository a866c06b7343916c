#!/usr/bin/env python3
"""draw_graph.py [TENANT...]: writes `tenants/TENANT/graph.svg`, the picture of a tenant's assets, from its definitions.

Without a name: of each tenant that has one. Nothing connects to anything; the manifest is made where it is not current.
`tests/contracts/test_graphs.py` holds the pictures that are committed to this.
"""

from __future__ import annotations

import os
import sys

from dagster_apollo.dbt.preparation import load_prepared, prepare
from dagster_apollo.dbt.workspace import Places, open_workspace, repository_root
from dagster_apollo.definitions import tenant_definitions
from dagster_apollo.errors import ApolloError
from dagster_apollo.projections.asset_graph import Asset, draw
from dagster_apollo.tenant import tenant_names

PICTURE = "graph.svg"


def graph_of(places: Places, name: str) -> str:
    """The text of a tenant's picture.

    Raises:
        ProblemsError: the tenant cannot be served.
    """
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    workspace = open_workspace(environ, places, name, parse_only=True)
    prepare(workspace)
    graph = tenant_definitions(workspace, load_prepared(workspace), environ).resolve_asset_graph()
    assets = []
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        own = key.path[1:] if key.path[0] == name else key.path
        parents = tuple(parent.to_user_string() for parent in node.parent_keys)
        group = node.group_name if node.is_materializable else None
        assets.append(Asset(key.to_user_string(), own[-1] if node.is_materializable else ".".join(own), group, parents))
    return draw(assets, f"The assets of {name}, and what they are built from")


def main(names: list[str]) -> None:
    """Write the pictures."""
    root = repository_root()
    places = Places.find({}, root)
    there = [name for name in tenant_names(places.tenants_dir) if (places.tenants_dir / name / PICTURE).exists()]
    for name in names or there:
        file = places.tenants_dir / name / PICTURE
        text = graph_of(places, name)
        file.write_text(text, encoding="utf-8")
        print(file.relative_to(root))  # noqa: T201


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ApolloError as error:
        sys.exit(str(error))
