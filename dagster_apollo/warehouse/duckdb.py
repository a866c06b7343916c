"""The output of a profile that builds on DuckDB: its file, its extensions, and what is attached to it.

Extensions come from wheels of the lock and from nowhere else: DuckDB is told not to download any. It looks for them by
name in one folder, which `link_extensions` makes of links to the wheels. DuckDB itself is not imported here.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dagster_apollo.errors import HostError, Problem
from dagster_apollo.settings import Values
from dagster_apollo.tenant import Tenant
from dagster_apollo.warehouse.postgres import PostgresServer
from dagster_apollo.warehouse.services import AWS_SECRET_VARIABLE, POSTGRES_PASSWORD_VARIABLE, UNSET, reference

# What the attached Postgres is called in dbt: `+database: postgres` writes a model there.
POSTGRES_DATABASE = "postgres"
# An image that brings its extensions says by this variable where they are; natively the profile's default holds.
EXTENSIONS_VARIABLE = "DUCKDB_EXTENSION_DIRECTORY"
# By service: the extension's name, and the name of the file that DuckDB looks for. Under its wheel's own name,
# `postgres.duckdb_extension`, DuckDB would look for an entry point of that name and not find it.
_EXTENSIONS = {"postgres": ("postgres", "postgres_scanner"), "s3": ("httpfs", "httpfs")}
# https://duckdb.org/docs/stable/extensions/extension_distribution#platforms
_PLATFORMS = {
    ("linux", "x86_64"): "linux_amd64",
    ("linux", "aarch64"): "linux_arm64",
    ("darwin", "x86_64"): "osx_amd64",
    ("darwin", "arm64"): "osx_arm64",
}


def duckdb_file(tenant: Tenant, state_dir: Path, target: str) -> Path:
    """The tenant's DuckDB file under a target; its stem is the database's name in dbt."""
    return state_dir / "warehouse" / target / f"{tenant.name}.duckdb"


def duckdb_output(tenant: Tenant, values: Values, state_dir: Path, target: str, threads: int) -> dict[str, Any]:
    """The output of a profile; what is not set of a service's settings is filled in, for a parse that connects to none.

    Args:
        tenant: whose.
        values: the settings as the tenant sees them.
        state_dir: where DuckDB files are kept.
        target: `local`, `dev` or `prod`.
        threads: how many nodes dbt builds at once.
    """
    output: dict[str, Any] = {
        "type": "duckdb",
        "path": str(duckdb_file(tenant, state_dir, target)),
        "schema": values.text("DBT_SCHEMA") or "main",
        "threads": threads,
    }
    services = [service for service in _EXTENSIONS if service in tenant.config.services]
    if not services:
        return output
    secrets: list[dict[str, Any]] = []
    if "s3" in services:
        secrets.append(_s3_secret(values))
    if "postgres" in services:
        server = PostgresServer.of(values)
        secrets.append(_postgres_secret(server))
        # The password is no part of it: DuckDB repeats what it was given when a connection fails.
        attached = {"alias": POSTGRES_DATABASE, "type": "postgres", "secret": "apollo_postgres"}
        output["attach"] = [{**attached, "path": server.options()}]
    return output | {
        "secrets": secrets,
        "extensions": [_EXTENSIONS[service][0] for service in services],
        "config_options": {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "extension_directory": _rendered_path(extension_folder(state_dir)),
        },
    }


def extension_folder(state_dir: Path) -> Path:
    """Where DuckDB finds its extensions on this machine."""
    return state_dir / "duckdb_extensions"


def link_extensions(state_dir: Path, services: Iterable[str]) -> None:
    """Put links to the wheels' extensions where DuckDB looks for them; those that are right stay.

    Raises:
        HostError: naming every wheel that is not installed, or the platform for which DuckDB has no extensions.
    """
    wanted = [_EXTENSIONS[service] for service in services if service in _EXTENSIONS]
    if not wanted:
        return
    problems = []
    system = _PLATFORMS.get((sys.platform, platform.machine()))
    if system is None:
        where = f"{sys.platform} on {platform.machine()}"
        problems.append(Problem(where, "DuckDB's extensions are not made for it", f"Known: {_known_platforms()}."))
    for name, stem in wanted:
        source = _in_wheel(name)
        if source is None:
            remedy = "Install the lock's packages again: `make setup`."
            problems.append(Problem(f"duckdb-extension-{name}", "this package is not installed", remedy))
        elif system:
            _link(extension_folder(state_dir) / source.parent.name / system / f"{stem}{source.suffix}", source)
    if problems:
        raise HostError(problems, "DuckDB lacks an extension")


def _in_wheel(name: str) -> Path | None:
    """The file in its wheel, `extensions/v1.5.5/httpfs.duckdb_extension`, without importing it."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        return None
    return next((Path(spec.origin).parent / "extensions").glob(f"*/{name}.duckdb_extension"), None)


def _link(link: Path, source: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and link.readlink() == source:
        return
    made = link.with_suffix(f".{os.getpid()}")  # another process may be making the same one
    made.unlink(missing_ok=True)
    made.symlink_to(source)
    made.replace(link)


def _known_platforms() -> str:
    return ", ".join(f"{system} on {machine}" for system, machine in _PLATFORMS)


def _rendered_path(folder: Path) -> str:
    default = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"{{{{ env_var('{EXTENSIONS_VARIABLE}', '{default}') }}}}"


def _s3_secret(values: Values) -> dict[str, Any]:
    secret: dict[str, Any] = {
        "type": "s3",
        "name": "apollo_s3",
        "key_id": values.text("AWS_ACCESS_KEY_ID") or UNSET,
        "secret": reference(AWS_SECRET_VARIABLE),
        "region": values.text("AWS_REGION"),
    }
    if endpoint := values.text("AWS_ENDPOINT_URL_S3"):
        url = urlsplit(endpoint)
        # A server of one's own has no host name a bucket.
        secret |= {"endpoint": url.netloc, "use_ssl": str(url.scheme == "https").lower(), "url_style": "path"}
    return secret


def _postgres_secret(server: PostgresServer) -> dict[str, Any]:
    return {
        "type": "postgres",
        "name": "apollo_postgres",
        "host": server.host,
        "port": str(server.port),
        "database": server.database,
        "user": server.user,
        "password": reference(POSTGRES_PASSWORD_VARIABLE),
    }
