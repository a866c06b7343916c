"""`python -m stand_ins.dbt_cloud --port 8580 --tenant NAME`, with STAND_IN_TOKEN in the environment.

What would stand in dbt Cloud's settings is read from the tenant's folder; `--project`, `--database` and the numbers
say it instead for a project that is no tenant. Serves until it is told to end.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from stand_ins.dbt_cloud.api import Api
from stand_ins.dbt_cloud.kept import Kept
from stand_ins.dbt_cloud.records import Numbers
from stand_ins.dbt_cloud.run_queue import RunQueue

TOKEN_VARIABLE = "STAND_IN_TOKEN"  # noqa: S105


@dataclass(frozen=True)
class Served:
    """What the account holds: one project in one environment, with its variables."""

    numbers: Numbers
    project: Path
    database: Path
    variables: Mapping[str, str]


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Serve."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    token = environ.get(TOKEN_VARIABLE, "")
    if not token:
        parser.error(f"{TOKEN_VARIABLE} is not set: it is the token that requests must bring")
    if not chosen.tenant and not (chosen.project and chosen.database):
        parser.error("name a --tenant, or a --project and a --database")
    served = _of_tenant(environ, chosen.tenant) if chosen.tenant else _of_arguments(chosen, environ)
    folder = chosen.folder or served.database.parent / "dbt_cloud"
    queue = RunQueue(served.numbers, served.project, served.database, Kept(folder.resolve()), served.variables)
    there = {job.name for job in queue.jobs.values()}
    for name, _, command in (pair.partition("=") for pair in chosen.job or ["Daily build=dbt build"]):
        if name not in there:
            queue.create_job(name, [command], job_type="scheduled")
    try:
        application = Api(queue, token).application()
        # An answer that is held back is nothing to wait for.
        uvicorn.run(application, host=chosen.host, port=chosen.port, log_level="warning", timeout_graceful_shutdown=1)
    finally:
        queue.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stand_ins.dbt_cloud", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, help="where jobs, runs and artifacts are kept; else beside the database")
    parser.add_argument("--tenant", help="the tenant whose project it runs, against its DuckDB file of `local`")
    parser.add_argument("--project", type=Path, help="the folder of the dbt project")
    parser.add_argument("--database", type=Path, help="the DuckDB file that it builds in")
    parser.add_argument("--variable", action="append", default=[], metavar="NAME", help="a variable for `env_var`")
    parser.add_argument("--job", action="append", default=[], metavar="NAME=COMMAND", help="a job that is there")
    for name in ("account", "project", "environment"):
        parser.add_argument(f"--{name}-id", type=int, default=1)
    return parser


def _of_arguments(chosen: argparse.Namespace, environ: Mapping[str, str]) -> Served:
    return Served(
        Numbers(chosen.account_id, chosen.project_id, chosen.environment_id),
        chosen.project.resolve(),
        chosen.database.resolve(),
        {name: environ[name] for name in chosen.variable},
    )


def _of_tenant(environ: Mapping[str, str], name: str) -> Served:
    # Here alone: what is served otherwise needs nothing of the package.
    from dagster_apollo.dbt.workspace import Places
    from dagster_apollo.tenant import load_tenant
    from dagster_apollo.warehouse.duckdb import duckdb_file

    places = Places.find(environ, Path.cwd())
    tenant = load_tenant(places.tenants_dir, name)
    cloud = tenant.config.dbt_cloud
    if cloud is None:
        raise SystemExit(f"tenants/{name}/tenant.yaml names no dbt_cloud environment")
    return Served(
        Numbers(cloud.account_id, cloud.project_id, cloud.environment_id),
        tenant.project_dir.resolve(),
        duckdb_file(tenant, places.state_dir, "local").resolve(),
        tenant.config.environment,
    )


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
