"""`apollo run LOCATION RUN_ID`: the first process of a one-off job, a run's container or a pod.

What the code host's first process is for all tenants this one is for one run: it may know everybody's variables, gives
the run its own tenant's, as a user of its own, runs no tenant's code and does not import Dagster. The run is
`tenant_run.py`, then `executing.py`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from dagster_apollo import environment
from dagster_apollo.code_host.directory import split_address
from dagster_apollo.code_host.walls import (
    Cell,
    assign,
    can_be_run_by_others,
    forbid_core_dumps,
    make_folders,
    signal_one,
    start,
)
from dagster_apollo.dbt.workspace import Places
from dagster_apollo.elsewhere.environments import PROOF_VARIABLE, TOKEN_VARIABLE, fetch
from dagster_apollo.elsewhere.place_command import run_words
from dagster_apollo.errors import HostError, Problem
from dagster_apollo.host.role import LOCATION_VARIABLE, TENANT_VARIABLE, role_settings, say
from dagster_apollo.locations import declared_locations, tenant_of
from dagster_apollo.tenant import chosen_names, read_config
from dagster_apollo.warehouse.profiles import require_shared_settings


def execute(environ: Mapping[str, str], root: Path, location: str, run_id: str) -> int:
    """Execute one run and wait for its end.

    Args:
        environ: the variables of this process: everybody's, or a proof with which those of the run's tenant are had.
        root: the repository.
        location: the code location that the run is of.
        run_id: the run.

    Returns:
        0 once the run has ended, however; else what its process ended with.

    Raises:
        RunPlaceError: location or run have a form that none has.
        HostError: the code host gives no variables, or the folder cannot be made.
        SettingsError: something that all tenants share is wrong or missing.
        TenantError: the image has no such tenant.
    """
    run_words(location, run_id)
    environ = _with_those_of_the_code_host(environ, location, run_id)
    role_settings(environ, needs_database=True)
    require_shared_settings(environ)
    tenant = tenant_of(location)
    places = Places.find(environ, root)
    places = Places(root, places.tenants_dir.resolve(), places.state_dir.resolve())
    chosen_names(places.tenants_dir, tenant)
    declared = declared_locations(places.tenants_dir, tenant)
    if location not in declared:
        what = f"serves {', '.join(declared)}, not {location}"
        raise HostError([Problem(f"tenants/{tenant}", what, "Launch the run anew: the tenant has changed since.")])
    os.umask(0o022)
    forbid_core_dumps()
    cell = _cell(tenant, places.state_dir)
    config, _ = read_config(places.tenants_dir / tenant, tenant)
    command = [config.python or sys.executable, "-m", "dagster_apollo.elsewhere.tenant_run", run_id]
    process = start(cell, command, _environ_of(environ, cell, places, location), ())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: signal_one(cell, process.pid, signal.SIGTERM))
    say(f"{location}: executes the run {run_id}")
    code = process.wait()
    say(f"{location}: the run's process has ended with {code}")
    return code if code >= 0 else 128 - code


def _with_those_of_the_code_host(environ: Mapping[str, str], location: str, run_id: str) -> dict[str, str]:
    proof = environ.get(PROOF_VARIABLE)
    own = {name: text for name, text in environ.items() if name not in (PROOF_VARIABLE, TOKEN_VARIABLE)}
    if not proof:
        return own
    host, port = split_address(environ.get("APOLLO_CODE_HOST"))
    return {**own, **fetch(host, port, location, run_id, proof)}


def _cell(tenant: str, state_dir: Path) -> Cell:
    as_root = os.geteuid() == 0 and can_be_run_by_others(Path(sys.executable))
    (cell,) = assign([tenant], state_dir, as_root=as_root)
    if wrong := make_folders([cell], state_dir):
        raise HostError(wrong.values())
    return cell


def _environ_of(environ: Mapping[str, str], cell: Cell, places: Places, location: str) -> dict[str, str]:
    own = {
        **environment.for_tenant(environment.without_settings_of_others(environ, "code"), cell.name),
        TENANT_VARIABLE: cell.name,
        LOCATION_VARIABLE: location,
        "APOLLO_TENANTS_DIR": str(places.tenants_dir),
        "APOLLO_STATE_DIR": str(cell.folder),
        "DAGSTER_HOME": str(cell.folder / "dagster"),
        "HOME": str(cell.folder),
        "TMPDIR": str(cell.folder / "tmp"),
        "PATH": f"{Path(sys.executable).parent}:{environ.get('PATH', '')}",
        "PYTHONPATH": str(places.root),
    }
    return {name: text for name, text in own.items() if not name.startswith(("DOCKER_", "PYTHONDONTWRITE"))}
