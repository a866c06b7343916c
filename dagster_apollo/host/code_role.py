"""`apollo code` before the first tenant's process starts: what is checked, made and opened, then `code_host.py` serves.

Settings that all share, a cell for each tenant, the folders and sockets that tenants must not make themselves, the
directory, the database. What is wrong here ends the process, so that the platform keeps the version that runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dagster_apollo.dbt.workspace import Places
from dagster_apollo.errors import HostError, Problem
from dagster_apollo.host.broker import Broker, container_places
from dagster_apollo.host.code_host import TICK_SECONDS, CodeHost, Tenant
from dagster_apollo.host.directory import DEFAULT_PORT, Directory
from dagster_apollo.host.directory_server import DirectoryServer
from dagster_apollo.host.role import Release, role_settings, say
from dagster_apollo.host.walls import (
    Cell,
    assign,
    can_be_run_by_others,
    can_listen,
    forbid_core_dumps,
    make_folders,
    make_shared,
)
from dagster_apollo.locations import declared_locations
from dagster_apollo.settings import Values
from dagster_apollo.tenant import chosen_names
from dagster_apollo.warehouse.profiles import require_shared_settings


def serve(environ: Mapping[str, str], root: Path) -> None:
    """Serve all tenants until SIGTERM or SIGINT.

    Raises:
        SettingsError: something that all tenants share is wrong or missing; nothing is started.
        HostError: the database did not answer with this version's schema, or the port is taken.
    """
    as_root = os.geteuid() == 0 and can_be_run_by_others(Path(sys.executable))
    values = role_settings(environ, needs_database=as_root)
    if os.geteuid() == 0 and not as_root:
        if values["APOLLO_CONTAINER"]:
            remedy = "Install it in a folder that every user may enter."
            raise HostError([Problem(sys.executable, "cannot be run by the tenants' users", remedy)])
        say(f"tenants share the user root, who can read all: {sys.executable} is in a folder that is closed to others")
    require_shared_settings(environ)
    os.umask(0o022)
    forbid_core_dumps()
    places = Places.find(environ, root)
    places = replace(places, tenants_dir=places.tenants_dir.resolve(), state_dir=places.state_dir.resolve())
    names = chosen_names(places.tenants_dir, values.text("TENANTS"))
    bind = str(values["APOLLO_BIND"])
    port = (values.integer("PORT") if "PORT" in values.sources else None) or DEFAULT_PORT
    locations = {name: declared_locations(places.tenants_dir, name) for name in names}
    cells = assign(locations, places.state_dir, port + 1, as_root=as_root, is_free=can_listen(bind))
    wrong = make_folders(cells, places.state_dir)
    broker = _open_broker(environ, places, cells, wrong)
    shared_home = None
    if not values["DAGSTER_PG_URI"]:
        from dagster_apollo.host.instance import lay_home

        shared_home = lay_home(environ, root)
    # One whose folder is not its own gets another, so that its location can say so.
    spare = Path(tempfile.gettempdir())
    cells = [replace(c, folder=spare / f"apollo-{c.name}-{c.user}") if c.name in wrong else c for c in cells]
    tenants = [Tenant(cell, problem=wrong.get(cell.name)) for cell in cells]
    drain_seconds = float(values.integer("APOLLO_DRAIN_SECONDS") or 0)
    host = CodeHost(environ, places, bind, tenants, drain_seconds, shared_home, broker=broker)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, host.stop)
    here = Release.here(values)
    directory = Directory((), None, here.version, here.release, here.image)
    with DirectoryServer(bind, port, directory) as server:
        say(f"the code host's directory is on {bind}:{port}; {len(names)} tenants")
        instance = _instance_of(values, environ, host)
        if instance is None:
            return  # told to end while it waited
        host.run(
            lambda locations, draining: server.show(
                replace(directory, locations=tuple(locations), instance=instance, draining=draining)
            )
        )


def _open_broker(
    environ: Mapping[str, str], places: Places, cells: Sequence[Cell], wrong: dict[str, Problem]
) -> Broker:
    """The broker of the tenants that have containers, their shared folders made; of those, what is wrong is added."""
    found = container_places(environ, places, [cell for cell in cells if cell.name not in wrong])
    for cell in cells:
        shared = found[cell.name].shared_folder if cell.name in found else None
        if shared and (problem := make_shared(cell, shared)):
            wrong[cell.name] = problem
    usable = {name: place for name, place in found.items() if name not in wrong}
    return Broker.open(environ, places, cells, usable, say)


def _instance_of(values: Values, environ: Mapping[str, str], host: CodeHost) -> str | None:
    """Wait for the database, in a process of its own that takes Dagster away with it; the instance's id."""
    if not values["DAGSTER_PG_URI"]:
        return ""
    command = [sys.executable, "-m", "dagster_apollo.host.waiting"]
    given = {name: environ[name] for name in ("DAGSTER_PG_URI", "APOLLO_WAIT_SECONDS", "PATH") if name in environ}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=given, cwd=host.places.root
    )
    while process.poll() is None:
        if host.is_stopping:
            process.terminate()
            process.wait()
            return None
        time.sleep(TICK_SECONDS)
    assert process.stdout is not None  # noqa: S101
    told = process.stdout.read().decode()
    if process.returncode:
        *_, last = told.strip().splitlines() or ["it said nothing"]
        raise HostError([Problem("DAGSTER_PG_URI", last, "Run `apollo migrate`, and see the database's log.")])
    return told.strip()
