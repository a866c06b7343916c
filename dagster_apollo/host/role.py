"""What every role of the image does first: lay down rights, check what it was given, wait for the database.

A role that cannot work says everything that is wrong and ends; the platform then keeps the version that runs. What
a role is, and reads, stands in `topology.py`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dagster_apollo.errors import Problem, SettingsError
from dagster_apollo.settings import Values, read, shared_problems

# The user of the image, `topology.UNPRIVILEGED`: where a platform cannot say who starts it, root does.
UNPRIVILEGED_ID = 10001
SHORTEST_TOKEN = 32
# Whose process a code location is, and, as JSON, what the code host found to be wrong with that tenant: it has prepared
# it, and knows of the others.
TENANT_VARIABLE, REFUSED_VARIABLE = "APOLLO_TENANT", "APOLLO_REFUSED"
# Which of the tenant's code locations a process serves, where there are several.
LOCATION_VARIABLE = "APOLLO_LOCATION"
# Set while an image is built: nothing connects, so a tenant is loaded without its credentials.
BAKING_VARIABLE = "APOLLO_BAKING"
# Where the daemon says what it runs, beside Dagster's own cursors in the database.
RELEASE_KEY = "apollo_daemon_release"


@dataclass(frozen=True)
class Release:
    """What runs in this process.

    Attributes:
        version: the package's.
        release: what the image was built from.
        image: the image by digest, where the platform tells it.
    """

    version: str
    release: str | None
    image: str | None

    @classmethod
    def here(cls, values: Values) -> Release:
        version = importlib.metadata.version("dagster-apollo")
        return cls(version, values.text("APOLLO_RELEASE"), values.text("APOLLO_IMAGE"))


def role_settings(environ: Mapping[str, str], *, needs_database: bool = False) -> Values:
    """The settings of a role that serves.

    Args:
        environ: its variables.
        needs_database: also where neither container nor target asks for Postgres.

    Raises:
        SettingsError: with everything that keeps it from starting.
    """
    problems = shared_problems(environ)
    if problems:
        raise SettingsError(problems, "the settings that all tenants share are not right")
    values = read({name: value for name, value in environ.items() if "__" not in name})
    if not values["DAGSTER_PG_URI"] and (values["APOLLO_CONTAINER"] or values.target == "prod" or needs_database):
        why = "in a container" if values["APOLLO_CONTAINER"] else "with DBT_TARGET=prod"
        if needs_database and not values["APOLLO_CONTAINER"] and values.target != "prod":
            why = "where each tenant has a user of its own"
        what = f"is not set, and {why} Dagster's records are kept in Postgres alone"
        remedy = "Set it to `postgresql://user:password@host:port/name`, the same for every role."
        raise SettingsError([Problem("DAGSTER_PG_URI", what, remedy)])
    return values


def code_token(values: Values) -> str:
    """What webserver and daemon show the code host.

    Raises:
        SettingsError: it is missing or short.
    """
    token = values.text("APOLLO_CODE_TOKEN") or ""
    if len(token) < SHORTEST_TOKEN:
        what = "is not set" if not token else f"is shorter than {SHORTEST_TOKEN} characters"
        remedy = "Give webserver, daemon and code host the same: `openssl rand -hex 32` makes one."
        raise SettingsError([Problem("APOLLO_CODE_TOKEN", what, remedy)])
    return token


def become_unprivileged() -> None:
    """Give up root for good, where it is root in a container: webserver and daemon have no use for it."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(UNPRIVILEGED_ID)
        os.setuid(UNPRIVILEGED_ID)


def say(line: str) -> None:
    """One line of a role's log, on standard output, whole."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} apollo {line}\n")
        sys.stdout.flush()


def wait_for_database(values: Values, tell: Callable[[str], None] = say, capacity: int | None = None) -> None:
    """Wait until the database has this version's schema; on SQLite there is nothing to wait for.

    Args:
        values: settings.
        tell: one line of the log.
        capacity: how many runs the code host's memory holds; None: what it said last.

    Raises:
        HostError: it had not within APOLLO_WAIT_SECONDS, or it takes fewer connections than all roles may need.
    """
    from dagster_apollo.dbt.workspace import repository_root
    from dagster_apollo.host.schema import wait_for_schema
    from dagster_apollo.runs.connections import require_connections

    if url := values.text("DAGSTER_PG_URI"):
        wait_for_schema(url, float(values.integer("APOLLO_WAIT_SECONDS") or 0), tell)
        if warning := require_connections(url, repository_root() / "dagster.yaml", capacity):
            tell(str(warning))


def state_dir(values: Values, root: Path) -> Path:
    """APOLLO_STATE_DIR, from the repository where it is relative."""
    return root / str(values["APOLLO_STATE_DIR"])
