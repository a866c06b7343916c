"""`apollo prepare`: a tenant's packages and manifest, made before anything is served.

`dbt deps` when the project asks for packages that are not there, `dbt parse`, and the slim manifest beside dbt's. A
stamp says what a manifest was made of, so that an unchanged tenant costs the reading of its files. Nothing here runs
when definitions are imported in production.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from dagster_apollo.dbt.manifest import slim
from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.errors import ManifestError, Problem

SLIM_FILE = "definitions.json"
STAMP_FILE = "stamp.json"
_SKIPPED = {"target", "logs", "dbt_packages", "dbt_modules", "dbt_internal_packages", ".git", "__pycache__"}


def prepare(workspace: Workspace, *, force: bool = False) -> bool:
    """Make the tenant's manifest if it is missing or older than what it is made of.

    Returns:
        Whether anything had to be made.

    Raises:
        ManifestError: with dbt's own words when its packages cannot be had or the project cannot be parsed.
    """
    folder = workspace.prepared_dir
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        stamp = _stamp(workspace)
        if not force and is_current(workspace, stamp) and not _packages_missing(workspace):
            return False
        (folder / STAMP_FILE).unlink(missing_ok=True)
        if _packages_missing(workspace):
            _install_packages(workspace, folder)
            stamp = _stamp(workspace)
        _run(workspace, ["parse"], folder, "dbt cannot parse the project")
        manifest = orjson.loads((folder / "manifest.json").read_bytes())
        _replace(folder / SLIM_FILE, orjson.dumps(slim(manifest)))
        _replace(folder / STAMP_FILE, orjson.dumps({"made_of": stamp}))
        return True


def is_current(workspace: Workspace, stamp: str | None = None) -> bool:
    """Whether the prepared manifest was made of what is there now."""
    try:
        made_of = orjson.loads((workspace.prepared_dir / STAMP_FILE).read_bytes())["made_of"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(made_of == (stamp or _stamp(workspace))) and (workspace.prepared_dir / SLIM_FILE).exists()


def load_prepared(workspace: Workspace) -> dict[str, Any]:
    """The slim manifest.

    Raises:
        ManifestError: when there is none; names the command that makes it.
    """
    file = workspace.prepared_dir / SLIM_FILE
    try:
        loaded: dict[str, Any] = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        target = workspace.values.target
        problem = Problem(
            f"tenants/{workspace.tenant.name}",
            f"there is no manifest for the target {target}",
            f"Make it: `DBT_TARGET={target} apollo prepare {workspace.tenant.name}`.",
        )
        raise ManifestError([problem]) from None
    except ValueError:
        remedy = f"Make it again: `apollo prepare --force {workspace.tenant.name}`."
        raise ManifestError([Problem(str(file), "is not JSON", remedy)]) from None
    return loaded


def _stamp(workspace: Workspace) -> str:
    """A hash of everything that the manifest depends on: contents, never times."""
    digest = hashlib.sha256()
    for distribution in ("dbt-core", "dbt-duckdb", "dbt-snowflake", "dagster-apollo"):
        digest.update(f"{distribution}={importlib.metadata.version(distribution)}\n".encode())
    digest.update(workspace.profile.text.encode())
    digest.update(json.dumps(dict(workspace.tenant.config.environment), sort_keys=True).encode())
    for file in _project_files(workspace.tenant.project_dir):
        digest.update(str(file.relative_to(workspace.tenant.project_dir)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _project_files(project_dir: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(project_dir):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        yield from (Path(directory) / name for name in sorted(files) if not name.startswith("."))


def _wanted_packages(workspace: Workspace) -> list[Mapping[str, Any]]:
    wanted: list[Mapping[str, Any]] = []
    for name in ("packages.yml", "dependencies.yml"):
        file = workspace.tenant.project_dir / name
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            place = f", line {mark.line + 1}" if mark else ""
            where = f"tenants/{workspace.tenant.name}/{name}{place}"
            raise ManifestError([Problem(where, "is not valid YAML", "Mend the file.")]) from None
        packages = content.get("packages") if isinstance(content, dict) else None
        wanted += [package for package in packages or [] if isinstance(package, dict)]
    return wanted


def _packages_missing(workspace: Workspace) -> bool:
    """Whether `dbt deps` has to run. A local package that no longer is where it was is unlinked, to be linked anew.

    Raises:
        ManifestError: when a local package is nowhere, which dbt would only say in a traceback.
    """
    wanted = _wanted_packages(workspace)
    project_dir = workspace.tenant.project_dir
    gone = [
        Problem(
            f"tenants/{workspace.tenant.name}/packages.yml: local: {package['local']}",
            "there is no dbt project at this path",
            "Copy the package into the tenant's folder and name it from there.",
        )
        for package in wanted
        if isinstance(package.get("local"), str) and not (project_dir / package["local"] / "dbt_project.yml").is_file()
    ]
    if gone:
        raise ManifestError(gone)
    installed = _packages_dir(workspace)
    entries = list(installed.iterdir()) if installed.is_dir() else []
    for entry in [entry for entry in entries if entry.is_symlink() and not entry.exists()]:
        entry.unlink()
        entries.remove(entry)
    return len([entry for entry in entries if entry.is_dir()]) < len(wanted)


def _install_packages(workspace: Workspace, folder: Path) -> None:
    installed = _packages_dir(workspace)
    vendored = installed.exists()
    try:
        _run(workspace, ["deps"], folder, "its packages cannot be installed")
    except ManifestError:
        if not vendored:  # half an installation looks like a whole one the next time
            shutil.rmtree(installed, ignore_errors=True)
        raise


def _packages_dir(workspace: Workspace) -> Path:
    return workspace.tenant.project_dir / str(workspace.tenant.project.get("packages-install-path") or "dbt_packages")


def _run(workspace: Workspace, words: list[str], folder: Path, failed: str) -> None:
    process = workspace.dbt(words, folder)
    told: list[str] = []
    for line in process.lines():
        told += error_texts(line)
    if process.returncode:
        command = " ".join(words)
        problem = Problem(
            f"tenants/{workspace.tenant.name}",
            f"{failed}: {' '.join(dict.fromkeys(told)) or f'dbt {command} ended with {process.returncode}'}",
            f"See all of it: `apollo dbt {workspace.tenant.name} -- {command}`.",
        )
        raise ManifestError([problem])


def error_texts(line: str) -> list[str]:
    """What a line of dbt's output says went wrong: nothing, for most lines."""
    try:
        event = orjson.loads(line)
        is_error = event["info"]["level"] == "error"
    except (ValueError, KeyError, TypeError):
        # Not an event: dbt died before its logger lived. Tracebacks end in the line that counts.
        return [line.strip()] if line and not line.startswith((" ", "{", "Traceback")) else []
    return [" ".join(str(event["info"]["msg"]).split())] if is_error else []


def _replace(file: Path, content: bytes) -> None:
    """Write whole or not at all: a reader beside us never sees half a file."""
    partial = file.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(file)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """One preparation of a tenant at a time on this machine."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
