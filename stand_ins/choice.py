"""What stands in for each service on this machine, in words: a real server where one is found, else a simulation.

What was begun with the one is gone on with: the other knows nothing of what was built.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from dagster_apollo.errors import HostError, Problem
from stand_ins import object_store, postgres

# Where the simulation keeps what is in it, and what says that objects are among it.
SIMULATION = "amazon"
_WITH_OBJECTS = "has-objects"
# The setting that leads to a service, so that nothing has to stand in.
SETTINGS = {
    "postgres": "POSTGRES_URL",
    "s3": "AWS_ENDPOINT_URL_S3",
    "dynamodb": "AWS_ENDPOINT_URL_DYNAMODB",
    "dbt_cloud": "DBT_CLOUD_TOKEN",
}


def chosen(service: str, folder: Path, environ: Mapping[str, str]) -> str:
    """What stands in for a service.

    Args:
        service: `postgres`, `s3`, `dynamodb` or `dbt_cloud`.
        folder: what the stand-ins keep, existing or not.
        environ: where programs are looked for.

    Raises:
        HostError: nothing can.
    """
    if service == "postgres":
        return f"a Postgres of this machine ({postgres.require_programs(folder / 'postgres')})"
    if service == "dbt_cloud":
        return "a fake of dbt Cloud's API, which runs the project on this machine,"
    if service == "s3" and (program := real_object_store(folder, environ)):
        return f"versitygw ({program})"
    if not importlib.util.find_spec("moto"):
        raise HostError([Problem("moto", "is not installed", "Run `make setup`, which brings it.")])
    better = " (`make test-parts` brings a real server)" if service == "s3" and not _is_simulated(folder) else ""
    return f"moto, which checks no key{better},"


def real_object_store(folder: Path, environ: Mapping[str, str]) -> str | None:
    """The program of the real S3 server; None where the simulation is taken."""
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    if _is_simulated(folder) or not object_store.can_keep_objects(there):
        return None
    return object_store.find_server(environ)


def keep_simulated_objects(folder: Path) -> None:
    """Go on with the simulation of S3 from now on."""
    (folder / SIMULATION / _WITH_OBJECTS).touch()


def _is_simulated(folder: Path) -> bool:
    return (folder / SIMULATION / _WITH_OBJECTS).exists()
