"""`make dev`: webserver, daemon and code host on this machine, as separate processes, as production has them.

The code host is production's, but for what a laptop is without: tenants share this user and one state folder, which is
the one that `apollo dbt` and the others know.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

from dagster_apollo import environment
from dagster_apollo.code_host.crossings import record_crossings
from dagster_apollo.code_host.directory import fetch
from dagster_apollo.dbt.preparation import prepare
from dagster_apollo.dbt.workspace import Places, Workspace, open_workspace, read_tenant
from dagster_apollo.errors import HostError, Problem, ProblemsError, SettingsError, TenantError
from dagster_apollo.host.container_images import ContainerImages, begin_images
from dagster_apollo.host.first_build import build_what_was_never_built
from dagster_apollo.host.instance import lay_home
from dagster_apollo.host.migration import make_storage
from dagster_apollo.host.processes import ProcessGroup, who_listens
from dagster_apollo.host.unset_services import forget_stand_ins, start_stand_ins
from dagster_apollo.host.webserver_client import WebserverClient
from dagster_apollo.locations import all_locations
from dagster_apollo.settings import read
from dagster_apollo.tenant import chosen_names
from dagster_apollo.warehouse.profiles import require_shared_settings

START_TIMEOUT_SECONDS = 180.0
DRAIN_SECONDS = "5"
HOST = "127.0.0.1"
# What a tenant builds in elsewhere; on `local` it is DuckDB.
_WAREHOUSES = {"snowflake": "Snowflake", "postgres": "Postgres"}
Say = Callable[[str], None]


def serve(environ: Mapping[str, str], root: Path, say: Say, *, build: bool = True) -> None:
    """Serve until interrupted.

    Args:
        environ: all variables.
        root: the repository.
        say: prints one line of progress.
        build: whether what was never built is built.

    Raises:
        SettingsError: a shared setting is wrong; nothing is started.
        HostError: the port is taken, or a process ended.
    """
    require_shared_settings(environ)
    values = read(environ)
    port = values.integer("PORT") or 3000
    _require_free(port)
    places = Places.find(environ, root)
    names = chosen_names(places.tenants_dir, values.text("TENANTS"))
    if not names:
        remedy = "Make one: `apollo tenant new NAME`."
        raise TenantError([Problem(f"{places.tenants_dir.name}/", "holds no tenant", remedy)])
    _require_database(environ, places, names)
    home = lay_home(environ, root)
    lock = _only_one(home)
    try:
        with ProcessGroup(places.state_dir / "logs") as group:
            environ = start_stand_ins(group, environ, places, names, say)
            workspaces = prepare_all(environ, places, names, say)
            images = begin_images(group, environ, places, workspaces, say)
            make_storage(environ, home, lambda line: None)
            linked = {"APOLLO_PUBLIC_URL": f"http://{HOST}:{port}", **environ}  # what messages lead to
            say(f"starting the webserver, the daemon and the code host of {len(names)} tenants")
            code_port = _free_pair()
            common = {
                "DAGSTER_HOME": str(home),
                "APOLLO_STATE_DIR": str(places.state_dir),
                "APOLLO_TENANTS_DIR": str(places.tenants_dir),
                "APOLLO_BIND": HOST,
                "APOLLO_CODE_TOKEN": secrets.token_hex(32),
            }
            # At Ctrl-C nobody wants to wait for a run.
            of_code = {"APOLLO_DRAIN_SECONDS": DRAIN_SECONDS, **linked, **common, "PORT": str(code_port)}
            _start(group, "code", ["code", "--local"], of_code, places)
            shared = {**common, "APOLLO_CODE_HOST": f"{HOST}:{code_port}", "PORT": str(port)}
            of_webserver = {**environment.for_nobody(environ, "webserver"), **shared}
            _start(group, "webserver", ["webserver", "--local"], of_webserver, places)
            _start(group, "daemon", ["daemon"], {**environment.for_nobody(environ, "daemon"), **shared}, places)
            _wait_for_port(group, port)
            address = f"http://{HOST}:{port}"
            _wait_for_locations(group, code_port, WebserverClient(address), say)
            say(f"serving on {address}")
            if build:
                # Elsewhere than on the embedded warehouse, a person says when to build.
                elsewhere = {space.tenant.name for space in workspaces if space.values.target != "local"}
                here = [name for name in names if name not in elsewhere | images.unusable]
                _build(address, places, here, images, say, group)
            say(f"ready: {address}/asset-groups (Ctrl-C stops everything; logs: {group.log_dir})")
            while True:
                group.require_running()
                for error in group.lost():
                    say(str(error))
                time.sleep(1)
    finally:
        forget_stand_ins(places.state_dir)
        lock.close()


def _build(
    address: str, places: Places, names: Iterable[str], images: ContainerImages, say: Say, group: ProcessGroup
) -> None:
    """Those that are ready first; those whose image is still being built afterwards."""
    ready = [name for name in names if name not in images.builds]
    build_what_was_never_built(address, all_locations(places.tenants_dir, ready), say, group.require_running)
    later = images.wait_for_builds(say, group.require_running)
    build_what_was_never_built(address, all_locations(places.tenants_dir, later), say, group.require_running)


def _only_one(home: Path) -> IO[str]:
    """Hold the folder for this process: two daemons on one database would take each other's runs."""
    lock = (home / "dev.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        remedy = "Stop it, or give this one folders of its own: APOLLO_STATE_DIR and DAGSTER_HOME."
        problem = Problem(f"DAGSTER_HOME={home}", f"is in use by `apollo dev`, process {holder}", remedy)
        raise HostError([problem], "two of them would take each other's runs") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _require_database(environ: Mapping[str, str], places: Places, names: Iterable[str]) -> None:
    """What builds in production is recorded in production's database, never in a laptop's files."""
    in_prod = []
    for name in names:
        with contextlib.suppress(ProblemsError):  # told when it is prepared
            if read_tenant(environ, places, name)[1].target == "prod":
                in_prod.append(name)
    if in_prod and not environ.get("DAGSTER_PG_URI"):
        what = f"is not set, and {', '.join(in_prod)} would build with DBT_TARGET=prod"
        raise SettingsError([Problem("DAGSTER_PG_URI", what, "Set it, or use DBT_TARGET=dev here.")])


def prepare_all(environ: Mapping[str, str], places: Places, names: Iterable[str], say: Say) -> list[Workspace]:
    """Prepare every tenant; what is wrong with one is said, and its location will show it, while the others go on."""
    workspaces = []
    for name in names:
        try:
            workspace = open_workspace(environ, places, name)
            started = time.monotonic()
            made = prepare(workspace)
        except ProblemsError as error:
            say(f"{name}: cannot be served\n" + "\n".join(f"    {problem}" for problem in error.problems))
            continue
        workspaces.append(workspace)
        say(f"{name}: manifest {f'made in {time.monotonic() - started:.1f} s' if made else 'is current'}")
        if workspace.values.target == "local" and workspace.tenant.config.warehouse in _WAREHOUSES:
            say(f"{name}: DBT_TARGET is `local`: DuckDB stands in for {_WAREHOUSES[workspace.tenant.config.warehouse]}")
    for name, problems in record_crossings(environ, places).items():
        say(f"{name}: cannot be served\n" + "\n".join(f"    {problem}" for problem in problems))
    return workspaces


def _start(group: ProcessGroup, role: str, words: list[str], environ: Mapping[str, str], places: Places) -> None:
    """Start a role, from a folder where no `.env` is found: it is given all that it needs."""
    given = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    group.start(role, [str(Path(sys.executable).parent / "apollo"), *words], given, places.state_dir)


def _free_pair() -> int:
    """A port that is free, as is the one after it: the code host's directory and its front."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as other:
            one.bind((HOST, 0))
            port = int(one.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                other.bind((HOST, port + 1))
                return port
    remedy = "Stop what listens on this machine."
    raise HostError([Problem("the code host", "finds no two free ports beside each other", remedy)])


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            remedy = f"Stop it, or choose another port: `PORT={port + 1} make dev`."
            problem = Problem(f"PORT={port}", f"{HOST}:{port} is held by {who_listens(port)}", remedy)
            raise HostError([problem], "the webserver cannot have its port") from None


def _wait_for_locations(group: ProcessGroup, code_port: int, webserver: WebserverClient, say: Say) -> None:
    """Wait until the webserver has heard each; one that it has not in time is told of, and shown when it is there."""
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        group.require_running()
        waiting = ["the code host"]
        with contextlib.suppress(HostError):
            names = [entry.name for entry in fetch(HOST, code_port).locations]
            reached = webserver.reached()
            waiting = [name for name in names if name not in reached]
        if not waiting:
            return
        if time.monotonic() > end:
            say(f"not ready in time: {', '.join(waiting)}; see {group.log_dir}/code.log")
            return
        time.sleep(0.2)


def _wait_for_port(group: ProcessGroup, port: int) -> None:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((HOST, port)) == 0:
                return
        group.require_running()
        if time.monotonic() > end:
            raise HostError([Problem("webserver", "did not answer in time", f"See {group.log_dir}/webserver.log.")])
        time.sleep(0.2)
