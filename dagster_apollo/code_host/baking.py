"""Snapshots in the image: made while it is built, so that no tenant has to be loaded when a container starts.

They are what the tenant's folder, manifest and packages make of a location where no variable is set. That a
deployment's variables make the same of it is found when the location is first loaded for another reason; until then
webserver and daemon are shown what the image holds. A location that cannot be loaded without its variables has none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dagster_apollo.code_host.dagster_internals import SerializableErrorInfo
from dagster_apollo.code_host.location_process import MODULE, load
from dagster_apollo.code_host.preparing import make_own_folders
from dagster_apollo.code_host.snapshot_writer import write_snapshot
from dagster_apollo.code_host.snapshots import baked_file, content_key, installed_digest
from dagster_apollo.dbt.preparation import SLIM_FILE
from dagster_apollo.dbt.workspace import Places, repository_root
from dagster_apollo.host.role import BAKING_VARIABLE, LOCATION_VARIABLE, TENANT_VARIABLE
from dagster_apollo.locations import declared_locations
from dagster_apollo.tenant import read_config, tenant_names


def bake_snapshots(environ: Mapping[str, str], places: Places, baked_dir: Path) -> list[str]:
    """Make every location's snapshot, each in a process of its own.

    Args:
        environ: the build's variables. The instance's database is no part of a build: it may have no schema yet.
        places: the folders, with the manifests that were made in the same build.
        baked_dir: where the image keeps those; snapshots lie beside it.

    Returns:
        The locations that have one.
    """
    made = []
    baked_file(baked_dir, "", "").parent.mkdir(parents=True, exist_ok=True)
    for tenant in tenant_names(places.tenants_dir):
        if read_config(places.tenants_dir / tenant, tenant)[0].python:
            continue  # it has a server of its own
        for location in declared_locations(places.tenants_dir, tenant):
            state = places.of_tenant(tenant).state_dir
            own = {
                **{name: value for name, value in environ.items() if name != "DAGSTER_PG_URI"},
                TENANT_VARIABLE: tenant,
                LOCATION_VARIABLE: location,
                BAKING_VARIABLE: "true",
                "APOLLO_TENANTS_DIR": str(places.tenants_dir),
                "APOLLO_STATE_DIR": str(state),
                "DAGSTER_HOME": str(state / "dagster"),
            }
            command = [sys.executable, "-m", "dagster_apollo.code_host.baking", str(baked_dir)]
            if subprocess.run(command, env=own, cwd="/", check=False).returncode == 0:
                made.append(location)
    return made


def main(baked_dir: Path) -> int:
    """Make the snapshot of the location that the environment names; 1 where it does not load."""
    environ = dict(os.environ)
    tenant, location = environ[TENANT_VARIABLE], environ[LOCATION_VARIABLE]
    make_own_folders(Path(environ["APOLLO_STATE_DIR"]), repository_root())
    os.chdir(environ["DAGSTER_HOME"])
    loaded = load(location)
    if isinstance(loaded, SerializableErrorInfo):
        return 1
    folder = Path(environ["APOLLO_TENANTS_DIR"]) / tenant
    manifest = (baked_dir / tenant / SLIM_FILE).read_bytes()
    file = baked_file(baked_dir, location, content_key(folder, manifest, installed_digest()))
    file.parent.mkdir(parents=True, exist_ok=True)
    made = file.with_suffix(".made")
    try:
        with made.open("wb") as out:
            write_snapshot(out.fileno(), loaded, MODULE, location)
        made.chmod(0o644)  # the front reads it
        made.rename(file)  # whole, or not at all
    finally:
        made.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
