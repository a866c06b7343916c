"""Which variables which process is given.

One environment holds every tenant's settings; a tenant's process gets its own and the shared ones, and dbt, which can
print what it is given, gets less still. Pure functions from mapping to mapping; reading a `.env` is the one effect.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from dagster_apollo.settings import BY_NAME, prefix

_LOOKS_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|PRIVATE_KEY|CREDENTIAL|API_KEY|ACCESS_KEY|_PG_URI")
_DBT_SECRET = "DBT_ENV_SECRET_"  # noqa: S105  dbt refuses such a variable in models and masks it in its logs
_OURS_IN_DBT = ("DBT_PROFILES_DIR", "DBT_PROJECT_DIR", "DBT_TARGET_PATH", "DBT_LOG_PATH", "DBT_TARGET", "DBT_PROFILE")


def from_process(root: Path) -> dict[str, str]:
    """The variables of this process, over those of the repository's `.env`, if there is one."""
    written = {name: value for name, value in dotenv_values(root / ".env").items() if value is not None}
    return {**written, **os.environ}


def for_tenant(environ: Mapping[str, str], tenant: str, tenants: Iterable[str]) -> dict[str, str]:
    """What a tenant's process is given: the shared variables and its own, never another tenant's.

    Its own are there twice: under the prefixed name, so that a child may be derived from a child, and under the plain
    one, where the tenant's Python and models look for them.

    Args:
        environ: all variables.
        tenant: the tenant's id.
        tenants: every tenant there is, served or not.
    """
    own = prefix(tenant)
    foreign = tuple(prefix(other) for other in tenants if other != tenant)
    kept = {
        name: value
        for name, value in environ.items()
        if name.startswith(own) or not (name.startswith(foreign) or _of_some_tenant(name))
    }
    return {**kept, **_under_plain_names(environ, own)}


def for_nobody(environ: Mapping[str, str], tenants: Iterable[str]) -> dict[str, str]:
    """What webserver and daemon are given: no tenant's variables, and no connection to a warehouse."""
    foreign = tuple(prefix(tenant) for tenant in tenants)
    return {
        name: value
        for name, value in environ.items()
        if not (name.startswith((*foreign, "SNOWFLAKE_", "DBT_")) or _of_some_tenant(name))
    }


def for_dbt(environ: Mapping[str, str], tenant: str, declared: Mapping[str, str]) -> dict[str, str]:
    """What dbt, and so any model by `env_var`, can see of a tenant's environment.

    Left out are Dagster's own variables, the settings that are secret, and shared variables whose name says that they
    are: dbt writes what a model asks for into compiled SQL and sends it to the warehouse.

    Args:
        environ: the tenant's environment, as `for_tenant` gives it.
        tenant: the tenant's id.
        declared: `environment` of the tenant's `tenant.yaml`.
    """
    own = prefix(tenant)
    mine = _under_plain_names(environ, own)
    shared = {
        name: value
        for name, value in environ.items()
        if not name.startswith((own, "DAGSTER_", "APOLLO_"))
        and name not in _OURS_IN_DBT
        and (name.startswith(_DBT_SECRET) or not _LOOKS_SECRET.search(name))
    }
    visible = {**shared, **declared, **mine}
    return {
        name: value
        for name, value in visible.items()
        if not (name in BY_NAME and BY_NAME[name].secret) and name != "PYTHONDONTWRITEBYTECODE"
    }


def _under_plain_names(environ: Mapping[str, str], own: str) -> dict[str, str]:
    """A tenant's variables without their prefix; without settings that cannot differ by tenant (Dagster's database)."""
    plain = {name.removeprefix(own): value for name, value in environ.items() if name.startswith(own)}
    return {name: value for name, value in plain.items() if name not in BY_NAME or BY_NAME[name].per_tenant}


def _of_some_tenant(name: str) -> bool:
    """A setting under any prefix at all: the folder may be gone, its key still in the environment."""
    _, separator, rest = name.rpartition("__")
    return bool(separator) and rest in BY_NAME
