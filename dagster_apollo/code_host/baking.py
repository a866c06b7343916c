"""What an image holds of its tenants, made while it is built: manifests, and the snapshots that are served at once.

Snapshots are what the tenant's folder, manifest and packages make of a location where no variable is set. That a
deployment's variables make the same of it is found when the location is first loaded for another reason; until then
webserver and daemon are shown what the image holds. A location that cannot be loaded without its variables has none.

All of it happens in forks of one process that has Dagster and dbt imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from dagster_apollo.code_host.dagster_internals import SerializableErrorInfo
from dagster_apollo.code_host.location_process import MODULE, load
from dagster_apollo.code_host.preparing import forking_dbt, make_own_folders
from dagster_apollo.code_host.snapshot_writer import write_snapshot
from dagster_apollo.code_host.snapshots import baked_file, content_key, installed_digest
from dagster_apollo.code_host.zygote import import_all
from dagster_apollo.dbt.baking import Baked, bake
from dagster_apollo.dbt.preparation import SLIM_FILE
from dagster_apollo.dbt.workspace import Places, repository_root
from dagster_apollo.errors import Problem
from dagster_apollo.host.role import BAKING_VARIABLE, LOCATION_VARIABLE, TENANT_VARIABLE
from dagster_apollo.locations import declared_locations
from dagster_apollo.tenant import read_config, tenant_names
from dagster_apollo.warm.forked_work import each_in_a_fork
from dagster_apollo.warm.forking import end_default_database

_AT_ONCE = os.cpu_count() or 1


def bake_image(environ: Mapping[str, str], places: Places, baked_dir: Path) -> tuple[list[str], list[str]]:
    """Make every tenant's manifest and every location's snapshot.

    Args:
        environ: the build's variables, with DBT_TARGET and no tenant's among them. The instance's database is no part
            of a build: it may have no schema yet.
        places: the folders.
        baked_dir: where the image keeps manifests; snapshots lie beside it.

    Returns:
        The tenants whose manifest had to be made, and the locations that have a snapshot.

    Raises:
        ManifestError: with every problem of every tenant; there are no snapshots then.
        HostError: this process has threads, so that it cannot fork.
    """
    import_all()
    end_default_database()
    made = bake(environ, places, baked_dir, each=_manifests_in_forks)
    versions = installed_digest()
    baked_file(baked_dir, "", "").parent.mkdir(parents=True, exist_ok=True)
    tenants = [  # one with a Python of its own has a server of its own
        name for name in tenant_names(places.tenants_dir) if not read_config(places.tenants_dir / name, name)[0].python
    ]

    def of_tenant(name: str) -> list[str]:
        """Its locations one after the other: they share the folder that Dagster keeps a schema in."""
        state = places.of_tenant(name).state_dir
        make_own_folders(state, repository_root())
        os.environ.clear()
        os.environ.update({variable: value for variable, value in environ.items() if variable != "DAGSTER_PG_URI"})
        os.environ[TENANT_VARIABLE] = name
        os.environ[BAKING_VARIABLE] = "true"
        os.environ["APOLLO_TENANTS_DIR"] = str(places.tenants_dir)
        os.environ["APOLLO_STATE_DIR"] = str(state)
        os.environ["DAGSTER_HOME"] = str(state / "dagster")
        locations = declared_locations(places.tenants_dir, name)
        done = each_in_a_fork(
            lambda location: _bake_snapshot(places.tenants_dir / name, baked_dir, location, versions), locations, 1
        )
        return [location for location, is_done in zip(locations, done, strict=True) if is_done]

    return made, [name for names in each_in_a_fork(of_tenant, tenants, _AT_ONCE) for name in names or ()]


def _manifests_in_forks(one: Callable[[str], Baked], names: Sequence[str]) -> Iterable[Baked]:
    def forked(name: str) -> tuple[bool, list[dict[str, str]]]:
        with forking_dbt():
            is_made, problems = one(name)
        return is_made, [problem.as_dict() for problem in problems]

    for name, done in zip(names, each_in_a_fork(forked, names, _AT_ONCE), strict=True):
        if done is None:
            remedy = "See what was printed above; a machine with little memory ends processes."
            yield False, [Problem(f"tenants/{name}", "its preparation was cut off", remedy)]
        else:
            yield done[0], [Problem(**fields) for fields in done[1]]


def _bake_snapshot(folder: Path, baked_dir: Path, location: str, versions: str) -> bool:
    """Make a location's snapshot, in a process with its tenant's environment; False where it does not load."""
    os.environ[LOCATION_VARIABLE] = location
    os.chdir(os.environ["DAGSTER_HOME"])
    loaded = load(location)
    if isinstance(loaded, SerializableErrorInfo):
        return False
    manifest = (baked_dir / folder.name / SLIM_FILE).read_bytes()
    file = baked_file(baked_dir, location, content_key(folder, manifest, versions))
    made = file.with_suffix(".made")
    try:
        with made.open("wb") as out:
            write_snapshot(out.fileno(), loaded, MODULE, location)
        made.chmod(0o644)  # the front reads it
        made.rename(file)  # whole, or not at all
    finally:
        made.unlink(missing_ok=True)
    return True
