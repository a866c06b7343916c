"""`apollo prepare`: a tenant's packages and manifest, made before anything is served.

`dbt deps` when the project asks for packages that are not there, `dbt parse`, and the slim manifest beside dbt's. A
stamp says what a manifest was made of, so that an unchanged tenant costs the reading of its files. Nothing here runs
when definitions are imported in production.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from dagster_apollo.dbt.manifest import find_cycle, slim
from dagster_apollo.dbt.stamp import difference, made_of, package_folders
from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.errors import ManifestError, Problem
from dagster_apollo.settings import prefix
from dagster_apollo.tenant import PROJECT_FILE, installed_packages, paths_that_leave, read_yaml

SLIM_FILE = "definitions.json"
STAMP_FILE = "stamp.json"
# Of a folder without a project, which dbt Cloud clones from elsewhere.
_NOTHING: dict[str, Any] = {"metadata": {}, "nodes": {}, "sources": {}, "unit_tests": {}}


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
        stamp = made_of(workspace)
        if not force and is_current(workspace, stamp) and not _packages_missing(workspace):
            return False
        (folder / STAMP_FILE).unlink(missing_ok=True)
        if _packages_missing(workspace):
            _install_packages(workspace, folder)
            stamp = made_of(workspace)
        manifest = _parse(workspace, folder) if workspace.tenant.has_project else _NOTHING
        if circle := find_cycle(manifest["nodes"]):
            names = " → ".join(manifest["nodes"][key]["name"] for key in circle)
            where = f"tenants/{workspace.tenant.name}/{manifest['nodes'][circle[0]]['original_file_path']}"
            remedy = "Take one of these references out."
            raise ManifestError([Problem(where, f"{names} refer to each other in a circle", remedy)])
        replace_file(folder / SLIM_FILE, orjson.dumps(slim(manifest)))
        replace_file(folder / STAMP_FILE, orjson.dumps({"made_of": stamp}))
        return True


def _parse(workspace: Workspace, folder: Path) -> dict[str, Any]:
    _require_packages_inside(workspace)
    _run(workspace, ["parse"], folder, "dbt cannot parse the project")
    parsed: dict[str, Any] = orjson.loads((folder / "manifest.json").read_bytes())
    return parsed


def is_current(workspace: Workspace, stamp: object = None) -> bool:
    """Whether the prepared manifest was made of what is there now."""
    before = _stamped(workspace.prepared_dir)
    return (
        before is not None and before == (stamp or made_of(workspace)) and (workspace.prepared_dir / SLIM_FILE).exists()
    )


def what_differs(workspace: Workspace, baked_dir: Path) -> str:
    """In words, why neither the manifest that is there nor the image's is taken."""
    return difference(_stamped(workspace.prepared_dir) or _stamped(baked_dir), made_of(workspace))


def _stamped(folder: Path) -> Mapping[str, Any] | None:
    try:
        before: Mapping[str, Any] = orjson.loads((folder / STAMP_FILE).read_bytes())["made_of"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return before


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
        packages = (content.get("packages") if isinstance(content, dict) else None) or []
        if not isinstance(packages, list) or not all(isinstance(entry, dict) for entry in packages):
            where, remedy = f"tenants/{workspace.tenant.name}/{name}: packages", "Write `- package: …` lines."
            raise ManifestError([Problem(where, "is not a list of packages", remedy)])
        wanted += packages
    return wanted


def _packages_missing(workspace: Workspace) -> bool:
    """Whether `dbt deps` has to run. A local package that no longer is where it was is unlinked, to be linked anew.

    Raises:
        ManifestError: when a local package is nowhere, which dbt would only say in a traceback, or outside.
    """
    wanted = _wanted_packages(workspace)
    project_dir = workspace.tenant.project_dir
    root = Path(os.path.realpath(workspace.tenant.folder))
    problems = []
    for local in [package["local"] for package in wanted if isinstance(package.get("local"), str)]:
        where = f"tenants/{workspace.tenant.name}/packages.yml: local: {local}"
        remedy = "Copy the package into the tenant's folder and name it from there."
        if "{" in local:
            continue  # what becomes of it shows when it is linked
        if not Path(os.path.realpath(project_dir / local)).is_relative_to(root):
            problems.append(Problem(where, "leads out of the tenant's folder", remedy))
        elif not (project_dir / local / PROJECT_FILE).is_file():
            problems.append(Problem(where, "there is no dbt project at this path", remedy))
    if problems:
        raise ManifestError(problems)
    for link in _stray_links(workspace):
        link.unlink()
    return len(package_folders(workspace)) < len(wanted)


def _stray_links(workspace: Workspace) -> list[Path]:
    """Linked packages that are gone, or are another's: `dbt deps` links by absolute path, and folders are copied."""
    installed = installed_packages(workspace.tenant.project_dir, workspace.tenant.project)
    root = os.path.realpath(workspace.tenant.folder)
    links = [entry for entry in installed.iterdir() if entry.is_symlink()] if installed.is_dir() else []
    return [link for link in links if not link.exists() or not Path(os.path.realpath(link)).is_relative_to(root)]


def _require_packages_inside(workspace: Workspace) -> None:
    """A package's own `dbt_project.yml` could point dbt at another tenant's files just as well."""
    tenant = workspace.tenant
    problems = [
        Problem(f"tenants/{tenant.name}: package {link.name}", "leads out of the tenant's folder", "Copy it there.")
        for link in _stray_links(workspace)
    ]
    for folder in package_folders(workspace):
        shown = f"tenants/{tenant.name}/{(folder / PROJECT_FILE).relative_to(tenant.folder)}"
        content, _ = read_yaml(folder / PROJECT_FILE, shown)  # what cannot be read is for dbt to refuse
        problems += paths_that_leave(content or {}, Path(os.path.realpath(folder)), tenant.folder, shown)
    if problems:
        raise ManifestError(problems)


def _install_packages(workspace: Workspace, folder: Path) -> None:
    installed = installed_packages(workspace.tenant.project_dir, workspace.tenant.project)
    vendored = installed.exists()
    try:
        _run(workspace, ["deps"], folder, "its packages cannot be installed")
    except BaseException:
        if not vendored:  # half an installation looks like a whole one the next time
            shutil.rmtree(installed, ignore_errors=True)
        raise


def _run(workspace: Workspace, words: list[str], folder: Path, failed: str) -> None:
    process = workspace.native_dbt(words, folder)
    told: list[str] = []
    for line in process.lines():
        told += error_texts(line)
    if process.returncode:
        tenant, command = workspace.tenant.name, " ".join(words)
        said = " ".join(dict.fromkeys(told)) or f"dbt {command} ended with {process.returncode}"
        remedy = f"See all of it: `apollo dbt {tenant} -- {command}`."
        if missing := re.search(r"Env var required but not provided: '(\w+)'", said):
            variable = prefix(tenant) + missing[1]
            remedy = f"Set it under `environment` of tenant.yaml or, a secret, as {variable} in the environment."
        elif "--no-version-check" in said:
            remedy = "Take a version that knows this dbt, or write `dbt_version_check: false` in tenant.yaml."
        raise ManifestError([Problem(f"tenants/{tenant}", f"{failed}: {said}", remedy)])


def error_texts(line: str) -> list[str]:
    """What a line of dbt's output says went wrong: nothing, for most lines."""
    try:
        event = orjson.loads(line)
        is_error = event["info"]["level"] == "error"
    except (ValueError, KeyError, TypeError):
        # Not an event: dbt died before its logger lived. Tracebacks end in the line that counts.
        return [line.strip()] if line and not line.startswith((" ", "{", "Traceback")) else []
    if not is_error:
        return []
    message, traceback, rest = str(event["info"]["msg"]).partition("Traceback (most recent call last):")
    last = rest.strip().splitlines()[-1:] if traceback else []
    return [" ".join(" ".join([message.removeprefix("Encountered an error:"), *last]).split())]


def replace_file(file: Path, content: bytes) -> None:
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
