"""Cut Render's OpenAPI description down to the operations that the fake Render answers.

`python tests/data/render/cut_openapi.py WHOLE.json` writes `openapi.json` beside this file. Kept are the operations
and the schemas that they reach; left out are prose and examples.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

KEPT = {
    "/owners": ["get"],
    "/services": ["get"],
    "/services/{serviceId}": ["get", "patch"],
    "/services/{serviceId}/deploys": ["get", "post"],
    "/services/{serviceId}/deploys/{deployId}": ["get"],
    "/services/{serviceId}/deploys/{deployId}/cancel": ["post"],
    "/services/{serviceId}/rollback": ["post"],
    "/services/{serviceId}/restart": ["post"],
    "/services/{serviceId}/env-vars": ["get", "put"],
    "/services/{serviceId}/env-vars/{envVarKey}": ["get", "put", "delete"],
    "/services/{serviceId}/jobs": ["get", "post"],
    "/services/{serviceId}/jobs/{jobId}": ["get"],
    "/services/{serviceId}/jobs/{jobId}/cancel": ["post"],
    "/env-groups": ["get", "post"],
    "/env-groups/{envGroupId}": ["get", "patch", "delete"],
    "/env-groups/{envGroupId}/env-vars/{envVarKey}": ["get", "put", "delete"],
    "/env-groups/{envGroupId}/services/{serviceId}": ["post", "delete"],
    "/blueprints/validate": ["post"],
}
PROSE = ("description", "summary", "example", "examples", "tags")


def cut(whole: dict[str, Any]) -> dict[str, Any]:
    """The part of the description that is kept, valid on its own."""
    kept: dict[str, Any] = {
        "openapi": whole["openapi"],
        "info": {"title": whole["info"]["title"], "version": whole["info"]["version"]},
        "servers": whole["servers"],
        "paths": {
            path: {name: part for name, part in whole["paths"][path].items() if name in (*methods, "parameters")}
            for path, methods in KEPT.items()
        },
        "components": {},
    }
    kept["paths"] = _without_prose(_inlined(kept["paths"], whole))
    waiting = _references(kept["paths"])
    while waiting:
        reference = waiting.pop()
        _, section, name = reference.removeprefix("#/").split("/")[:3]
        place = kept["components"].setdefault(section, {})
        if name not in place:
            place[name] = _without_prose(_inlined(whole["components"][section][name], whole))
            waiting += _references(place[name])
    kept["components"] = {section: dict(sorted(part.items())) for section, part in sorted(kept["components"].items())}
    return kept


def _inlined(part: Any, whole: dict[str, Any]) -> Any:
    """Resolve what refers into a path or into the midst of a schema: only whole components are kept by name."""
    if isinstance(part, list):
        return [_inlined(item, whole) for item in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref", "")
    steps = [_unescaped(step) for step in reference.removeprefix("#/").split("/")]
    if reference and (steps[0] != "components" or len(steps) > 3):
        found: Any = whole
        for step in steps:
            found = found[int(step)] if isinstance(found, list) else found[step]
        return _inlined(found, whole)
    return {name: _inlined(item, whole) for name, item in part.items()}


def _unescaped(step: str) -> str:
    return step.replace("%7B", "{").replace("%7D", "}").replace("~1", "/").replace("~0", "~")


def _without_prose(part: Any, *, names: bool = False) -> Any:
    """Without text for people; a response must have a description, and a property may have such a name."""
    if isinstance(part, list):
        return [_without_prose(item) for item in part]
    if not isinstance(part, dict):
        return part
    told = {name: _without_prose(item, names=name == "properties") for name, item in part.items()}
    if names:
        return told
    is_response = isinstance(part.get("description"), str) and ("content" in part or set(part) == {"description"})
    return {name: item for name, item in told.items() if name not in PROSE or (is_response and name == "description")}


def _references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [found for item in part for found in _references(item)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [found for item in part.values() for found in _references(item)]


if __name__ == "__main__":
    content = cut(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    text = json.dumps(content, indent=1, sort_keys=False, ensure_ascii=False)
    Path(__file__).with_name("openapi.json").write_text(text + "\n", encoding="utf-8")
