"""`apollo code` before the first tenant's process starts: what is checked, made and opened, then `code_host.py` serves.

Settings that all share, a cell for each tenant, the folders and sockets that tenants must not make themselves, the
directory, the wait for the database. What is wrong with one of them ends the process, so that the platform keeps the
version that runs.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dagster_apollo import environment
from dagster_apollo.code_host.broker import Broker, container_places
from dagster_apollo.code_host.calls import authorization
from dagster_apollo.code_host.code_host import CodeHost
from dagster_apollo.code_host.database_wait import DatabaseWait
from dagster_apollo.code_host.directory import DEFAULT_PORT, Directory
from dagster_apollo.code_host.directory_server import DirectoryServer
from dagster_apollo.code_host.folder_watch import FolderWatch
from dagster_apollo.code_host.front_process import Front
from dagster_apollo.code_host.processes import Loop
from dagster_apollo.code_host.served_location import ServedLocation
from dagster_apollo.code_host.stock_location import StockLocation
from dagster_apollo.code_host.tenants import Tenant, Tenants
from dagster_apollo.code_host.walls import (
    Cell,
    assign,
    can_be_run_by_others,
    forbid_core_dumps,
    forbid_looking,
    make_folders,
    make_shared,
    make_snapshots_folder,
    make_socket_folder,
    take_orphans,
)
from dagster_apollo.code_host.zygote_process import Zygote
from dagster_apollo.dbt.workspace import Places
from dagster_apollo.elsewhere.environments import RunEnvironments
from dagster_apollo.errors import HostError, Problem
from dagster_apollo.host.memory import capacity_here
from dagster_apollo.host.role import TENANT_VARIABLE, UNPRIVILEGED_ID, Release, code_token, role_settings, say
from dagster_apollo.locations import declared_locations
from dagster_apollo.settings import Values
from dagster_apollo.tenant import chosen_names, read_config
from dagster_apollo.warehouse.profiles import adapter_of, require_shared_settings


@dataclass(frozen=True)
class Walls:
    """How tenants are kept apart here.

    Attributes:
        as_root: each has a user of its own.
        own_state: each has a state folder of its own; else they share the repository's, as its commands do.
    """

    as_root: bool
    own_state: bool = True


def serve(environ: Mapping[str, str], root: Path, *, own_state: bool = True) -> None:
    """Serve all tenants until SIGTERM or SIGINT.

    Args:
        environ: everybody's variables.
        root: the repository.
        own_state: give each tenant a state folder of its own; a laptop's commands know of one for all.

    Raises:
        SettingsError: something that all tenants share is wrong or missing; nothing is started.
        HostError: the database did not answer with this version's schema, or the port is taken.
    """
    as_root = os.geteuid() == 0 and can_be_run_by_others(Path(sys.executable))
    walls = Walls(as_root and own_state, own_state)
    values = role_settings(environ, needs_database=walls.as_root)
    if os.geteuid() == 0 and not as_root:
        if values["APOLLO_CONTAINER"]:
            remedy = "Install it in a folder that every user may enter."
            raise HostError([Problem(sys.executable, "cannot be run by the tenants' users", remedy)])
        say(f"tenants share the user root, who can read all: {sys.executable} is in a folder that is closed to others")
    require_shared_settings(environ)
    token = code_token(values)
    os.umask(0o022)
    forbid_core_dumps()
    forbid_looking("apollo code")
    take_orphans()
    places = Places.find(environ, root)
    places = replace(places, tenants_dir=places.tenants_dir.resolve(), state_dir=places.state_dir.resolve())
    names = chosen_names(places.tenants_dir, values.text("TENANTS"))
    bind = str(values["APOLLO_BIND"])
    port = (values.integer("PORT") if "PORT" in values.sources else None) or DEFAULT_PORT
    cells = assign(names, places.state_dir, as_root=walls.as_root)
    wrong = make_folders(cells, places.state_dir)
    # A laptop's tenants reach the engine as its user does.
    broker = _open_broker(environ, places, cells if own_state else (), wrong)
    shared_home = None
    if not values["DAGSTER_PG_URI"] or not own_state:
        from dagster_apollo.host.instance import lay_home

        shared_home = lay_home(environ, root)
    # One whose folder is not its own gets another, so that its location can say so.
    spare = Path(tempfile.gettempdir())
    cells = [replace(c, folder=spare / f"apollo-{c.name}-{c.user}") if c.name in wrong else c for c in cells]
    loop = Loop()
    zygote = Zygote(loop, _adapters(environ, values, places, names), say)
    given = Given(environ, places, own_state, shared_home, broker)
    tenants = [_tenant(given, cell, wrong.get(cell.name), loop, zygote, walls.as_root) for cell in cells]
    idle_seconds = float(values.integer("APOLLO_IDLE_SECONDS") or 0)
    drain_seconds = float(values.integer("APOLLO_DRAIN_SECONDS") or 0)
    host = CodeHost(
        loop,
        zygote,
        Tenants(tenants, loop, zygote, Path(str(values["APOLLO_BAKED_DIR"])), say),
        places.state_dir,
        drain_seconds,
        idle_seconds,
        _given_to_ours(environ, shared_home),
        broker,
    )
    if not own_state:
        host.watch = FolderWatch({cell.name: places.tenants_dir / cell.name for cell in cells})
    front_user = UNPRIVILEGED_ID if walls.as_root else None
    # The sockets of tenants' own servers are reached through the file system, by the tenant's group; no other way in.
    groups = [t.cell.user for t in tenants if t.python and t.cell.user is not None] if walls.as_root else []
    host.front = Front(loop, bind, port + 1, authorization(token), idle_seconds, front_user, groups, host.asked, say)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, host.stop)
    here = Release.here(values)
    directory = Directory((), None, here.version, here.release, here.image)
    environments = RunEnvironments(environ, frozenset(names).__contains__)
    with DirectoryServer(bind, port, directory, environments.answer) as server:
        say(f"the code host's directory is on {bind}:{port}, its front on {port + 1}; {len(names)} tenants")
        capacity = capacity_here(values)
        say(capacity.why)
        database = host.database = DatabaseWait(environ, values, capacity.runs)
        host.run(
            lambda locations, draining: server.show(
                replace(directory, locations=tuple(locations), instance=database.instance, draining=draining)
            )
        )
    if database.problem:
        raise HostError([database.problem])


def _given_to_ours(environ: Mapping[str, str], shared_home: Path | None) -> dict[str, str]:
    """What a process of ours needs for Dagster's records and for the front, and nothing of a tenant's."""
    names = ("DAGSTER_PG_URI", "APOLLO_CONTAINER", "APOLLO_CODE_TOKEN", "PATH", "PYTHONPATH")
    home = {"DAGSTER_HOME": str(shared_home)} if shared_home else {}
    return {**{name: environ[name] for name in names if name in environ}, **home}


@dataclass(frozen=True)
class Given:
    """What tenants' environments are made of.

    Attributes:
        environ: everybody's variables.
        places: the folders.
        own_state: whether each tenant has a state folder of its own.
        shared_home: Dagster's home where there is no Postgres, and so one for all.
        broker: starts tenants' containers.
    """

    environ: Mapping[str, str] = field(repr=False)
    places: Places
    own_state: bool
    shared_home: Path | None
    broker: Broker

    def environ_of(self, cell: Cell) -> dict[str, str]:
        """What a tenant's processes are given: its own variables and the shared ones."""
        own = {
            **environment.for_tenant(environment.without_settings_of_others(self.environ, "code"), cell.name),
            TENANT_VARIABLE: cell.name,
            "APOLLO_TENANTS_DIR": str(self.places.tenants_dir),
            "APOLLO_STATE_DIR": str(cell.folder if self.own_state else self.places.state_dir),
            "DAGSTER_HOME": str(self.shared_home or cell.folder / "dagster"),
            **({"HOME": str(cell.folder), "TMPDIR": str(cell.folder / "tmp")} if self.own_state else {}),
            "PATH": f"{Path(sys.executable).parent}:{self.environ.get('PATH', '')}",
            "PYTHONPATH": str(self.places.root),
            **self.broker.environ_of(cell.name),
        }
        # Which engine there is, and with whose credentials images are pulled, is the broker's to know; the front's
        # token would have a tenant call the front as the webserver does.
        if self.own_state:
            own = {name: value for name, value in own.items() if not name.startswith("DOCKER_")}
        own.pop("APOLLO_CODE_TOKEN", None)
        own.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode every import is paid again by every dbt
        return own


def _adapters(environ: Mapping[str, str], values: Values, places: Places, names: Sequence[str]) -> Iterator[str]:
    """Of dbt, those that tenants without a Python of their own build by; a target of a tenant's own is its own."""
    for name in names:
        config, _ = read_config(places.tenants_dir / name, name)
        if not config.python:
            own = environment.for_tenant(environ, name).get("DBT_TARGET", "").strip()
            yield adapter_of(config.warehouse, own or values.target)


def _tenant(given: Given, cell: Cell, problem: Problem | None, loop: Loop, zygote: Zygote, as_root: bool) -> Tenant:
    places = given.places
    config, _ = read_config(places.tenants_dir / cell.name, cell.name)
    python = Path(config.python) if config.python else None
    if python and not os.access(python, os.X_OK):
        what, remedy = f"{python} cannot be run", "Put it into the image, or leave the field out."
        problem, python = Problem(f"tenants/{cell.name}/tenant.yaml: python", what, remedy), None
    group = UNPRIVILEGED_ID if as_root else None
    locations: list[ServedLocation | StockLocation] = []
    for name in declared_locations(places.tenants_dir, cell.name):
        if python:
            folder = make_socket_folder(places.state_dir, cell, name)
            locations.append(StockLocation(name, cell, python, folder, say))
            continue
        folder = make_snapshots_folder(places.state_dir, name, group)
        # What dbt Cloud has is asked for when the definitions are loaded.
        is_passing = config.warehouse == "dbt_cloud"
        locations.append(ServedLocation(name, cell, folder, group, is_passing, loop, zygote, say))
    return Tenant(cell, given.environ_of(cell), locations, problem, python, given.own_state)


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
