"""Lineage of dbt in a container: the same that a native dbt's is."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from tests.support.container_engine import ContainerEngine
from tests.support.openlineage import Receiver, problems_of, receiving
from tests.support.tenant_folders import TenantFolders, failures
from tests.support.tenant_images import copy_tenant, image_of


def told(receiver: Receiver) -> list[dict[str, Any]]:
    """The events without what two runs of the very same dbt differ in."""
    return sorted(
        (
            {
                "job": event["job"]["name"],
                "kind": event["eventType"],
                "inputs": [_table(dataset) for dataset in event.get("inputs") or []],
                "outputs": [_table(dataset) for dataset in event.get("outputs") or []],
            }
            for event in receiver.events
        ),
        key=lambda event: (event["job"], event["kind"]),
    )


def _table(dataset: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": dataset["name"],
        "facets": {name: facet for name, facet in dataset.get("facets", {}).items() if name != "dataSource"},
        "inputFacets": dataset.get("inputFacets"),
    }


def test_a_container_tells_what_a_native_dbt_tells(tmp_path: Path, container_engine: ContainerEngine) -> None:
    tenants = TenantFolders(tmp_path, DBT_THREADS="1", **container_engine.environ)
    image = f"apollo-test-{uuid.uuid4().hex[:8]}:1"
    copy_tenant(tenants, "riksdag", image=image)
    ways: dict[str, list[dict[str, Any]]] = {}
    with image_of(tenants, container_engine, "riksdag", image):
        for way in ("process", "docker"):
            tenants.state_dir = tmp_path / way
            with receiving() as receiver:
                settings = {"RIKSDAG__APOLLO_EXECUTION": way, "OPENLINEAGE_URL": receiver.url}
                result = tenants.build("riksdag", **settings)
            assert result.success, failures(result)
            assert [problem for event in receiver.events for problem in problems_of(event)] == []
            ways[way] = json.loads(json.dumps(told(receiver)).replace(str(tenants.state_dir), ""))
    assert len(ways["docker"]) > 10
    assert ways["docker"] == ways["process"]
