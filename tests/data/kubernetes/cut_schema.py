"""Cut Kubernetes' OpenAPI description of `batch/v1` down to the schemas that a Job reaches.

`python tests/data/kubernetes/cut_schema.py apis__batch__v1_openapi.json` writes `job.schema.json` beside this file.
Left out are prose and what JSON Schema does not know; added is that an unknown field is wrong, as the API server says
of one when it validates strictly.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

JOB = "io.k8s.api.batch.v1.Job"


def cut(whole: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema of a Job."""
    schemas, kept, waiting = whole["components"]["schemas"], {}, [JOB]
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept[name] = _strict(schemas[name])
            waiting += _references(kept[name])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": f"#/$defs/{JOB}",
        "$defs": dict(sorted(kept.items())),
    }


def _strict(part: Any, *, names: bool = False) -> Any:
    if isinstance(part, list):
        return [_strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    told = {
        name: _strict(item, names=name == "properties")
        for name, item in part.items()
        if names or not (name in ("description", "default") or name.startswith("x-"))
    }
    if not names and "properties" in told:
        told.setdefault("additionalProperties", False)
    if not names and isinstance(told.get("$ref"), str):
        told["$ref"] = told["$ref"].replace("#/components/schemas/", "#/$defs/")
    return told


def _references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [found for item in part for found in _references(item)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"].rpartition("/")[2]] if isinstance(part.get("$ref"), str) else []
    return own + [found for item in part.values() for found in _references(item)]


if __name__ == "__main__":
    content = cut(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    text = json.dumps(content, indent=1, ensure_ascii=False)
    Path(__file__).with_name("job.schema.json").write_text(text + "\n", encoding="utf-8")
