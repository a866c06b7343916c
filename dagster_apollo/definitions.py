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
from dagster_apollo.dbt.assets import dbt_assets, unique_id
from dagster_apollo.dbt.preparation import load_prepared, prepare
from dagster_apollo.dbt.relations import schema_problems
from dagster_apollo.dbt.sources import freshness_checks, remaining_tests, source_specs
from dagster_apollo.dbt.translation import TenantTranslator, one_line
from dagster_apollo.dbt.workspace import Places, Workspace, open_workspace, repository_root
from dagster_apollo.errors import ApolloError, Problem, ProblemsError, TenantError
from dagster_apollo.schedules import build_schedules
from dagster_apollo.settings import read
from dagster_apollo.tenant import chosen_names
from dagster_apollo.warehouse.profiles import require_shared_settings


def tenant_definitions(
    workspace: Workspace, manifest: Mapping[str, Any], environ: Mapping[str, str], outputs_dir: Path | None = None
) -> dg.Definitions:
    """Everything that one tenant's code location serves.

    Args:
        workspace: the tenant, ready for dbt.
        manifest: its slim manifest.
        environ: what its own Python may read.
        outputs_dir: where what its own Python returns is kept, unless it brings an IO manager; None: Dagster's folder,
            which in a deployment is the daemon's and no tenant may write.

    Raises:
        TenantError: when what the folder declares cannot be served.
    """
    tenant = workspace.tenant
    if problems := schema_problems(tenant.name, manifest):
        raise TenantError(problems, f"the tenant {tenant.name} cannot be served")
    translator = TenantTranslator(tenant.name, manifest, tenant.config.owner)
    build = dbt_assets(workspace, manifest, translator)
    covered = {unique_id(spec) for spec in build.check_specs} if build else set()
    freshness = freshness_checks(workspace, manifest, translator)
    tests = remaining_tests(workspace, manifest, translator, covered)
    target = workspace.values.target
    schedules, jobs = build_schedules(tenant, target, manifest, build, freshness) if build else ([], [])
    ours = dg.Definitions(
        assets=[*([build] if build else []), *source_specs(manifest, translator)],
        asset_checks=[checks for checks in (freshness, tests) if checks],
        schedules=schedules,
        jobs=jobs,  # type: ignore[arg-type]
        # dbt is a process already; an interpreter more per step would cost seconds and 150 MB.
        executor=dg.in_process_executor,
        metadata={"description": tenant.config.description} if tenant.config.description else None,
    )
    own = _own_definitions(workspace, environ)
    if own and outputs_dir and "io_manager" not in (own.resources or {}):
        kept = dg.FilesystemIOManager(base_dir=str(outputs_dir))
        own = dg.Definitions.merge(own, dg.Definitions(resources={"io_manager": kept}))
    return _merged(tenant.name, ours, own) if own else ours


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
    for name in chosen_names(places.tenants_dir, wanted):
        try:
            workspace = open_workspace(environ, places, name)
            if workspace.values.target == "local":
                prepare(workspace)
            own = environment.for_tenant(environ, name)
            found.append(tenant_definitions(workspace, load_prepared(workspace), own))
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
    with _process_environment(environ), _importing_from(str(workspace.tenant.folder)):
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
