"""What a manifest was made of, so that it is made again exactly when something of that is another.

Contents, never times. The connection is kept field by field, since any of them may stand in a model or a schema's name
by `target`, and so that a log can say which one differs; what has no part in parsing (threads, the key) is left out.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.errors import ManifestError, Problem
from dagster_apollo.tenant import installed_packages

_SKIPPED = {"target", "logs", "dbt_packages", "dbt_modules", "dbt_internal_packages", ".git", "__pycache__"}
_NOT_PARSED = (
    *("threads", "private_key", "password", "connect_retries", "connect_timeout"),
    *("secrets", "attach", "extensions", "config_options"),
)
_VARIABLE = re.compile(rb"""env_var\(\s*['"](\w+)['"]""")


def made_of(workspace: Workspace) -> dict[str, Any]:
    """Everything that a tenant's manifest depends on.

    Raises:
        ManifestError: a file of the project cannot be read.
    """
    folders = (workspace.tenant.project_dir, *package_folders(workspace))
    files, variables = _read(workspace, folders)
    return {
        "versions": _versions(),
        "target": f"{workspace.profile.name}.{workspace.profile.target}",
        "connection": _connection(workspace),
        "variables": variables,
        "files": files,
    }


def difference(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """In words, why what was made is not what would be made now."""
    if not isinstance(before, Mapping):
        return "there is no manifest yet"
    told = []
    was, is_now = before.get("connection") or {}, now["connection"]
    for field in sorted({*was, *is_now}):
        if was.get(field) != is_now.get(field):
            told.append(f"{field} was {was.get(field)} and is {is_now.get(field)}")
    if before.get("target") != now["target"]:
        told.append(f"the target was {before.get('target')} and is {now['target']}")
    words = {
        "versions": "dbt or this package is of another version",
        "variables": "a variable that its files read by `env_var` differs",
        "files": "its files differ",
    }
    told += [text for part, text in words.items() if before.get(part) != now[part]]
    return "; ".join(told) or "a package is missing"


def package_folders(workspace: Workspace) -> list[Path]:
    """The installed packages."""
    installed = installed_packages(workspace.tenant.project_dir, workspace.tenant.project)
    return sorted(entry for entry in installed.iterdir() if entry.is_dir()) if installed.is_dir() else []


def _versions() -> str:
    names = ("dbt-core", "dbt-duckdb", "dbt-postgres", "dbt-snowflake", "dagster-apollo")
    return " ".join(f"{name}={importlib.metadata.version(name)}" for name in names)


def _connection(workspace: Workspace) -> dict[str, Any]:
    profile = workspace.profile
    output: dict[str, Any] = yaml.safe_load(profile.text)[profile.name]["outputs"][profile.target]
    return {field: value for field, value in output.items() if field not in _NOT_PARSED}


def _read(workspace: Workspace, folders: tuple[Path, ...]) -> tuple[str, str]:
    """Hashes of all files, and of the variables that they name."""
    digest = hashlib.sha256(json.dumps(dict(workspace.tenant.config.environment), sort_keys=True).encode())
    named: set[str] = set()
    for folder in folders:
        for file in _project_files(folder):
            digest.update(str(file.relative_to(folder)).encode() + b"\0")
            try:
                content = file.read_bytes()
            except OSError as error:
                where = f"tenants/{workspace.tenant.name}/{file.name}"
                told = f"cannot be read: {error.strerror}"
                raise ManifestError([Problem(where, told, "Check its permissions.")]) from None
            digest.update(hashlib.sha256(content).digest())
            if b"env_var" in content:
                named |= {name.decode() for name in _VARIABLE.findall(content)}
    seen = workspace.environment(workspace.prepared_dir)
    values = hashlib.sha256()
    for name in sorted(named):
        values.update(f"{name}={seen.get(name)}\0".encode())
    return digest.hexdigest(), values.hexdigest()


def _project_files(project_dir: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(project_dir):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        found = (Path(directory) / name for name in sorted(files) if not name.startswith("."))
        yield from (file for file in found if file.is_file())  # dbt says what it thinks of a link to nothing
