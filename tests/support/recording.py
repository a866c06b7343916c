"""What a build of `tests/recordings/shop/project` prints and leaves, as files without machine paths.

`python -m tests.support.recording` replaces the committed recording; `shop_*` read it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from dagster_apollo.dbt.manifest import slim
from dagster_apollo.dbt.preparation import prepare
from dagster_apollo.dbt.workspace import Places, open_workspace

RECORDED = Path(__file__).resolve().parents[1] / "recordings" / "shop"
_MANIFEST_PARTS = ("nodes", "sources", "unit_tests", "groups", "exposures", "metrics")
_METADATA = ("adapter_type", "dbt_version", "dbt_schema_version", "project_name", "project_id")
_LEFT_OUT = {"compiled_code", "extra_ctes", "created_at", "build_path", "compiled_path", "root_path", "contract",
             "doc_blocks", "unrendered_config"}  # fmt: skip


def record(destination: Path) -> None:
    """Build the project on a DuckDB of its own, as a run would, and write the recording."""
    with tempfile.TemporaryDirectory(prefix="apollo-recording-") as folder:
        root = Path(folder).resolve()
        shutil.copytree(RECORDED / "project", root / "tenants" / "shop")
        places = Places(root, root / "tenants", root / "state")
        shell = {"PATH": os.environ["PATH"], "HOME": str(root), "DBT_THREADS": "1"}
        workspace = open_workspace(shell, places, "shop")
        prepare(workspace)
        with duckdb.connect(str(root / "state" / "warehouse" / "local" / "shop.duckdb")) as connection:
            connection.execute("create schema raw; create table raw.clicks as select 1 as id, now() as at")
        lines: list[str] = []
        results: list[Mapping[str, Any]] = []
        with workspace.run_folder("build") as target_path:
            # A seed that fills a source is loaded before: what reads the source does not wait for it within a build.
            for words in (["seed", "--select", "orders"], ["build", "--exclude", "resource_type:seed,orders"]):
                lines += workspace.dbt(words, target_path).lines()
                results += json.loads((target_path / "run_results.json").read_text())["results"]
            manifest = json.loads((workspace.prepared_dir / "manifest.json").read_text())

            def without_paths(text: str) -> str:
                for path, shown in ((target_path, "/target"), (root / "tenants" / "shop", "/shop"), (root, "")):
                    text = text.replace(str(path), shown)
                return text

            destination.mkdir(parents=True, exist_ok=True)
            for name, text in {
                "build.jsonl": "".join(f"{line}\n" for line in map(_kept_line, lines) if line),
                "manifest.json": json.dumps(_kept_manifest(manifest), indent=1, sort_keys=True) + "\n",
                "run_results.json": json.dumps({"results": [_kept(entry) for entry in results]}, indent=1,
                                               sort_keys=True) + "\n",
            }.items():  # fmt: skip
                (destination / name).write_text(without_paths(text), encoding="utf-8")


def _kept_line(line: str) -> str | None:
    event = json.loads(line)
    if event["info"]["level"] == "debug" and event["info"]["name"] != "NodeFinished":
        return None
    return json.dumps({**event, "info": {**event["info"], "pid": 1, "extra": {}}}, sort_keys=True)


def _kept_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    parts = {
        kind: {unique_id: _kept(node) for unique_id, node in manifest[kind].items()} for kind in _MANIFEST_PARTS
    }  # fmt: skip
    return {"metadata": {key: manifest["metadata"].get(key) for key in _METADATA}, **parts}


def _kept(node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in _LEFT_OUT}


def shop_lines(recorded: Path = RECORDED) -> list[str]:
    """The lines that dbt printed, as JSON: all but debug ones, and NodeFinished."""
    return (recorded / "build.jsonl").read_text(encoding="utf-8").splitlines()


def shop_manifest(recorded: Path = RECORDED) -> dict[str, Any]:
    """dbt's manifest of the project, without macros and documentation."""
    manifest: dict[str, Any] = json.loads((recorded / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def shop_slim() -> dict[str, Any]:
    """The slim manifest of the project."""
    return slim(shop_manifest())


def shop_results(recorded: Path = RECORDED) -> dict[str, Mapping[str, Any]]:
    """dbt's results, by its own unique id."""
    results = json.loads((recorded / "run_results.json").read_text(encoding="utf-8"))["results"]
    return {entry["unique_id"]: entry for entry in results}


if __name__ == "__main__":
    record(RECORDED)
