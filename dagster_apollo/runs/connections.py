"""How many connections all roles may have to the instance's database at once, against how many the server takes.

Each process keeps to its part (`pools.py`); here the parts are added up, from what `dagster.yaml` lets happen at once.
A role says so and ends when the sum cannot be had: a run would find out in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
import yaml

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.runs.dagster_tables import CAPACITY_KEY, connect, value
from dagster_apollo.runs.pools import ANY_OTHER, DAEMON, RUN, WEBSERVER

# What a process has beside its pool. The webserver: who logged out, readings of `/status`, a lock while it launches;
# the daemon: its own lock, one while it launches, a look at who holds which; a run: the lock that tells that it lives.
_BESIDE_WEBSERVER, _BESIDE_DAEMON, _BESIDE_RUN = 4, 3, 1
# `apollo migrate`, a backup, a code host that waits for the schema.
_COMMANDS = 3
# Requests of people that a tenant's server answers with a question of its own, beside the daemon's ticks.
_BY_HAND = 2
# Dagster's own, where `dagster.yaml` says nothing.
_DEFAULT_RUNS, _DEFAULT_WORKERS = 10, 8


@dataclass(frozen=True)
class Demand:
    """What may be open at once.

    Attributes:
        services: by webserver, daemon, tenants' servers, commands; twice that while a deploy has two of each.
        runs: by runs, of which there are no more during a deploy.
    """

    services: int
    runs: int

    @property
    def most(self) -> int:
        return self.services + self.runs

    @property
    def most_during_deploy(self) -> int:
        return 2 * self.services + self.runs


def demand_of(dagster_yaml: Path, capacity: int | None = None) -> Demand | None:
    """What an instance that is configured like this may have open; None: it lets any number of runs happen at once.

    Args:
        dagster_yaml: the instance's `dagster.yaml`.
        capacity: how many runs the code host's memory holds, where that is known.
    """
    config = yaml.safe_load(dagster_yaml.read_text(encoding="utf-8")) or {}
    runs = _number(config, _DEFAULT_RUNS, "concurrency", "runs", "max_concurrent_runs")
    if capacity is not None:
        runs = min(runs, capacity) if runs >= 0 else capacity
    if runs < 0:
        return None
    workers = sum(_number(config, _DEFAULT_WORKERS, kind, "num_workers") for kind in ("schedules", "sensors"))
    # A tenant's server asks while it evaluates, which it does when the daemon or a person has it do so.
    tenants = workers + _BY_HAND
    services = WEBSERVER.most + _BESIDE_WEBSERVER + DAEMON.most + _BESIDE_DAEMON + tenants + _COMMANDS
    return Demand(services, runs * (max(RUN.most, ANY_OTHER.most) + _BESIDE_RUN))


def require_connections(url: str, dagster_yaml: Path, capacity: int | None = None) -> Problem | None:
    """Compare what may be open with what the server takes.

    Args:
        url: of the instance's Postgres, with its driver.
        dagster_yaml: the instance's `dagster.yaml`.
        capacity: how many runs the code host's memory holds; None: what it said last.

    Returns:
        A warning, where only a deploy would exceed it.

    Raises:
        HostError: the server takes fewer.
        sqlalchemy.exc.SQLAlchemyError: it cannot be asked.
    """
    demand, allowed = demand_of(dagster_yaml, capacity or _published_capacity(url)), allowed_connections(url)
    if demand is None:
        what = f"the server takes {allowed} connections of this user, and nothing bounds how many runs there are"
        return Problem("DAGSTER_PG_URI", what, "Set `max_concurrent_runs` in dagster.yaml.", "warning")
    if demand.most_during_deploy <= allowed:
        return None
    remedy = "Raise `max_connections` of the server, or lower `max_concurrent_runs` in dagster.yaml."
    if demand.most <= allowed:
        what = (
            f"the server takes {allowed} connections of this user; a deploy, while old and new are both there, may "
            f"need {demand.most_during_deploy}"
        )
        return Problem("DAGSTER_PG_URI", what, remedy, "warning")
    what = (
        f"the server takes {allowed} connections of this user, and {demand.most} may be needed at once: "
        f"{demand.services} by webserver, daemon and tenants, {demand.runs} by runs"
    )
    raise HostError([Problem("DAGSTER_PG_URI", what, remedy)], "the database takes too few connections")


def allowed_connections(url: str) -> int:
    """How many sessions a user may have in its database: the least of what server, database and role allow.

    https://www.postgresql.org/docs/current/runtime-config-connection.html; a limit of -1 is none.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the server cannot be asked.
    """
    question = sqlalchemy.text(
        "select current_setting('max_connections')::int,"
        " case when r.rolsuper then 0 else current_setting('superuser_reserved_connections')::int"
        "   + coalesce(current_setting('reserved_connections', true), '0')::int end,"
        " r.rolconnlimit, d.datconnlimit"
        " from pg_roles r, pg_database d where r.rolname = current_user and d.datname = current_database()"
    )
    with connect(url) as connection:
        most, reserved, *limits = (int(number) for number in connection.execute(question).one())
    return min([most - reserved, *(limit for limit in limits if limit >= 0)])


def _published_capacity(url: str) -> int | None:
    with connect(url) as connection:
        told = value(connection, CAPACITY_KEY) or ""
    return int(told) if told.isdigit() else None


def _number(config: Mapping[str, Any], default: int, *path: str) -> int:
    found: Any = config
    for name in path:
        found = (found or {}).get(name)
    return default if found is None else int(found)
