"""Assembly: one tenant, or all of them merged, as Dagster definitions.

`tenant_definitions` is what a code location serves. `all_tenants` is for Dagster's own commands, `dagster asset list`
or `dg check defs`, that take one module and know no locations.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_apollo import environment
from dagster_apollo.commands import TenantCommands
from dagster_apollo.dbt.assets import dbt_assets, unique_id
from dagster_apollo.dbt.automation import automation_sensor
from dagster_apollo.dbt.exclusion import without_excluded
from dagster_apollo.dbt.partitions import partitioned_nodes
from dagster_apollo.dbt.preparation import load_prepared, prepare
from dagster_apollo.dbt.relations import schema_problems
from dagster_apollo.dbt.sources import freshness_checks, remaining_tests, source_specs
from dagster_apollo.dbt.translation import TenantTranslator, one_line
from dagster_apollo.dbt.workspace import Places, Workspace, open_workspace, repository_root
from dagster_apollo.dbt_cloud.assembly import CloudTenant
from dagster_apollo.errors import ApolloError, Problem, ProblemsError, TenantError
from dagster_apollo.execution.run_place import run_place
from dagster_apollo.fork import load_fork
from dagster_apollo.lineage import resource as lineage
from dagster_apollo.notifications.sensors import notification_sensors
from dagster_apollo.run_places import PLACE_KEY, PLAN_KEY
from dagster_apollo.runs.liveness import living_in_process_executor
from dagster_apollo.schedules import build_schedules
from dagster_apollo.settings import read
from dagster_apollo.tenant import chosen_names
from dagster_apollo.warehouse.profiles import require_shared_settings

# dlt reads its settings once, when a process first uses it, and would report from then on.
_WITHOUT_TELEMETRY = {"RUNTIME__DLTHUB_TELEMETRY": "false"}


def tenant_definitions(
    workspace: Workspace,
    manifest: Mapping[str, Any],
    environ: Mapping[str, str],
    outputs_dir: Path | None = None,
    *,
    prefix: str = "",
    commands: TenantCommands | None = None,
) -> dg.Definitions:
    """Everything that one tenant's code location serves.

    Args:
        workspace: the tenant, ready for dbt.
        manifest: its slim manifest.
        environ: what its own Python may read.
        outputs_dir: where what its own Python returns is kept, unless it brings an IO manager; None: Dagster's folder,
            which in a deployment is the daemon's and no tenant may write.
        prefix: before the names that several tenants may have alike, where they are merged.
        commands: those of the tenants that it is merged with; None: its own.

    Raises:
        TenantError: when what the folder declares cannot be served.
    """
    tenant = workspace.tenant
    if problems := schema_problems(tenant.name, manifest):
        raise TenantError(problems, f"the tenant {tenant.name} cannot be served")
    cloud = CloudTenant.of(workspace, manifest)
    manifest = without_excluded(tenant, cloud.environment.manifest if cloud else manifest)
    translator = TenantTranslator(
        tenant.name,
        manifest,
        tenant.config.owner,
        tenant.config.automation,
        tenant.config.groups,
        partitioned_nodes(tenant, manifest),
    )
    carry_out = cloud.builds.invoke if cloud else None
    build = dbt_assets(workspace, manifest, translator, carry_out)
    build = cloud.marked(build) if cloud and build else build
    covered = {unique_id(spec) for spec in build.check_specs} if build else set()
    freshness = freshness_checks(workspace, manifest, translator, cloud.builds.measure if cloud else None)
    tests = remaining_tests(workspace, manifest, translator, covered, carry_out)
    target = workspace.values.target
    schedules, jobs = build_schedules(tenant, target, manifest, build, freshness) if build else ([], [])
    own = _own_definitions(workspace, environ)
    loaded = _built_by(own) if own else set()
    sources = [spec for spec in source_specs(manifest, translator) if spec.key not in loaded]
    automation = tenant.config.automation
    interval = workspace.values.integer("APOLLO_AUTOMATION_SECONDS") or 1
    ours = dg.Definitions(
        assets=[*([build] if build else []), *sources],
        asset_checks=[checks for checks in (freshness, tests) if checks],
        schedules=schedules,
        jobs=jobs,  # type: ignore[arg-type]
        sensors=[
            *([automation_sensor(tenant.name, interval)] if automation else []),
            *notification_sensors(tenant, workspace.values, environ, load_fork(repository_root()).domain),
        ],
        # dbt is a process already; an interpreter more per step would cost seconds and 150 MB.
        executor=living_in_process_executor,
        metadata=_told_of_it(workspace) or None,
        resources=_lineage(workspace),
    )
    if cloud:
        ours = dg.Definitions.merge(ours, cloud.definitions(build, manifest, translator, prefix))
    if own:
        commands = commands or TenantCommands()
        commands.serve(workspace)
        ours = dg.Definitions.merge(ours, dg.Definitions(resources={"commands": commands}))
    if own and outputs_dir and "io_manager" not in (own.resources or {}):
        kept = dg.FilesystemIOManager(base_dir=str(outputs_dir))
        own = dg.Definitions.merge(own, dg.Definitions(resources={"io_manager": kept}))
    return _merged(tenant.name, ours, own) if own else ours


def _told_of_it(workspace: Workspace) -> dict[str, str]:
    """What the location says of itself: webserver and daemon know no `tenant.yaml`."""
    config, place = workspace.tenant.config, run_place(workspace.tenant, workspace.values)
    described = {"description": config.description} if config.description else {}
    return {**described, **({} if place == "host" else {PLACE_KEY: place, PLAN_KEY: config.run_plan})}


def _lineage(workspace: Workspace) -> Mapping[str, Any]:
    tenant, values = workspace.tenant, workspace.values
    partitions = tenant.config.partitions
    zone = partitions.timezone if partitions else "UTC"
    return lineage.resources(tenant.name, values, workspace.profile.text, load_fork(repository_root()).name, zone)


@dg.definitions
def all_tenants() -> dg.Definitions:
    """All tenants in one, from the repository's root with nothing set; on `local`, what is not prepared is prepared."""
    root = repository_root()
    environ = environment.from_process(root)
    require_shared_settings(environ)
    places = Places.find(environ, root)
    wanted = read({"TENANTS": environ.get("TENANTS", "")}).text("TENANTS")
    found: list[dg.Definitions] = []
    errors: list[Problem] = []
    commands = TenantCommands()
    for name in chosen_names(places.tenants_dir, wanted):
        try:
            workspace = open_workspace(environ, places, name)
            if workspace.values.target == "local":
                prepare(workspace)
            own = environment.for_tenant(environ, name)
            manifest = load_prepared(workspace)
            found.append(tenant_definitions(workspace, manifest, own, prefix=f"{name}__", commands=commands))
        except ProblemsError as error:
            errors += error.problems
    if errors:
        raise TenantError(errors, "some tenants cannot be served")
    return dg.Definitions.merge(*found) if found else dg.Definitions()


def _own_definitions(workspace: Workspace, environ: Mapping[str, str]) -> dg.Definitions | None:
    """The `defs` of the tenant's own `definitions.py`, which sees the tenant's environment and no other."""
    file = workspace.tenant.definitions_file
    if not file.is_file():
        return None
    tenant = workspace.tenant.name
    where = f"tenants/{tenant}/definitions.py"
    spec = importlib.util.spec_from_file_location(f"apollo_tenant_{tenant}", file)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    with _process_environment({**environ, **_WITHOUT_TELEMETRY}), _importing_from(str(workspace.tenant.folder)):
        try:
            spec.loader.exec_module(module)
        except ApolloError:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            problem = Problem(where, f"cannot be imported: {told}", "Mend it; `apollo tenant check` imports it.")
            raise TenantError([problem], f"the tenant {tenant} cannot be served") from error
    defs = getattr(module, "defs", None)
    if not isinstance(defs, dg.Definitions):
        problem = Problem(where, "has no `defs`", "End it with `defs = dg.Definitions(assets=[…])`.")
        raise TenantError([problem], f"the tenant {tenant} cannot be served")
    return defs


def _built_by(own: dg.Definitions) -> set[dg.AssetKey]:
    """What the tenant's own Python builds: a dbt source that it loads is that asset, and no external one."""
    return {key for assets in own.assets or [] if isinstance(assets, dg.AssetsDefinition) for key in assets.keys}


def _merged(tenant: str, ours: dg.Definitions, own: dg.Definitions) -> dg.Definitions:
    """The tenant's own definitions beside those of its dbt project, which they may refer to."""
    where = f"tenants/{tenant}/definitions.py"
    try:
        merged = dg.Definitions.merge(ours, own)
        keys = merged.resolve_asset_graph().materializable_asset_keys
    except Exception as error:
        problem = Problem(where, f"Dagster cannot load it: {one_line(error)}", "Mend what the message names.")
        raise TenantError([problem], f"the tenant {tenant} cannot be served") from error
    foreign = sorted(key.to_user_string() for key in keys if key.path[0] != tenant)
    if foreign:
        remedy = f'Give it `key_prefix="{tenant}"`: keys of two tenants must not meet.'
        problem = Problem(where, f"the key of {', '.join(foreign[:3])} does not begin with {tenant}", remedy)
        raise TenantError([problem], f"the tenant {tenant} cannot be served")
    return merged


@contextmanager
def _process_environment(environ: Mapping[str, str]) -> Iterator[None]:
    before, wanted = dict(os.environ), dict(environ)  # `environ` may be os.environ itself
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _importing_from(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
