"""The recordings that unit tests read are what the locked dbt says today."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.recording import RECORDED, record, shop_lines, shop_manifest, shop_results


def outline(folder: Path) -> dict[str, object]:
    """What a recording says, without what differs from one build to the next."""
    events = [json.loads(line) for line in shop_lines(folder)]
    told = [
        (event["info"]["name"], event["info"]["level"], sorted(event["data"]), event["data"].get("status"),
         (event["data"].get("node_info") or {}).get("unique_id"), sorted(event["data"].get("node_info") or {}))
        for event in events
    ]  # fmt: skip
    manifest = shop_manifest(folder)
    return {
        "events": sorted(map(repr, told)),
        "nodes": {key: sorted(node) for key, node in {**manifest["nodes"], **manifest["unit_tests"]}.items()},
        "results": {key: (result["status"], sorted(result)) for key, result in shop_results(folder).items()},
        "dbt": manifest["metadata"]["dbt_version"],
    }


def test_the_recording_is_what_dbt_says(tmp_path: Path) -> None:
    record(tmp_path)

    assert outline(tmp_path) == outline(RECORDED), "make it again: `python -m tests.support.recording`"


def test_recordings_hold_no_machine_path() -> None:
    for file in RECORDED.glob("*.json*"):
        assert re.findall(r"/(?:tmp|home|root|Users|private|var|work|usr|opt)/[^\"' ]*", file.read_text()) == [], file
