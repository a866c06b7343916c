"""What a location's warm process has at hand when a run is forked from it: definitions, manifest, compiled macros.

Made once, by one thread, with no connection to anything. The definitions are loaded outside.
"""

from __future__ import annotations

import contextlib
import gc
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from dagster_apollo.dbt.workspace import PARTIAL_PARSE, Workspace
from dagster_apollo.errors import ManifestError, Problem
from dagster_apollo.warm.dagster_internals import WarmRepository
from dagster_apollo.warm.dbt_internals import Manifest, compile_macros, forking_locks, link_once, parse, set_up
from dagster_apollo.warm.forking import end_default_database, require_forkable


@dataclass(frozen=True)
class Warm:
    """A code location that runs can be forked from.

    Attributes:
        workspace: its tenant.
        repository: its definitions.
        manifest: dbt's own, of the target that the location serves; None where its dbt runs elsewhere.
        instance: Dagster's, with no connection open; None: each run makes its own.
    """

    workspace: Workspace
    repository: WarmRepository
    manifest: Manifest | None
    instance: dg.DagsterInstance | None = None

    @property
    def manifest_file(self) -> Path:
        """The manifest as dbt wrote it when the tenant was prepared."""
        return self.workspace.prepared_dir / "manifest.json"


def warm_up(
    workspace: Workspace,
    loaded: dg.RepositoryDefinition,
    loaded_from: tuple[str, str],
    instance: dg.DagsterInstance | None = None,
) -> Warm:
    """Parse the tenant's project, compile its macros and link its nodes, and have this process ready to be forked.

    Args:
        workspace: the tenant, prepared.
        loaded: the location's definitions.
        loaded_from: module and attribute that another process loads them from.
        instance: Dagster's, with no connection open.

    Raises:
        ManifestError: dbt cannot parse what it could parse when it was prepared.
        HostError: something has started a thread, or has connected to a server.
    """
    with forking_locks():
        loaded.load_all_definitions()  # jobs of assets are made when they are first asked for
    manifest = _parsed(workspace) if _builds_here(workspace) else None
    if manifest:
        compile_macros(manifest)
        link_once(manifest)
        set_up()
    end_default_database()
    gc.collect()
    require_forkable()
    gc.freeze()  # what is shared stays shared: a collection in a fork would write to every object
    return Warm(workspace, WarmRepository.of(loaded, *loaded_from), manifest, instance)


def _builds_here(workspace: Workspace) -> bool:
    """Whether the tenant's dbt is a process of this machine."""
    tenant = workspace.tenant
    return tenant.has_project and workspace.containers is None and tenant.config.warehouse != "dbt_cloud"


def _parsed(workspace: Workspace) -> Manifest:
    with tempfile.TemporaryDirectory() as folder:
        target_path = Path(folder)
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(workspace.prepared_dir / PARTIAL_PARSE, target_path)
        manifest, errors = parse(workspace.environment(target_path), workspace.tenant.project_dir)
    if manifest is None:
        name = workspace.tenant.name
        told = " ".join(" ".join(errors).split()) or "it does not say why"
        remedy = f"See all of it: `apollo dbt {name} -- parse`."
        raise ManifestError([Problem(f"tenants/{name}", f"dbt cannot parse the project: {told}", remedy)])
    return manifest
