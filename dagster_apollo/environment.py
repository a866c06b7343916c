"""Which variables which process is given.

One environment holds every tenant's settings; a tenant's process gets its own and the shared ones, and dbt, which can
print what it is given, gets less still. Pure functions from mapping to mapping; reading a `.env`, and the one that
`apollo dev` writes, are the only effects.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from dagster_apollo.errors import Problem, SettingsError
from dagster_apollo.settings import BY_NAME, LOOKS_SECRET, Process, prefix

# Two underscores make a name somebody's: of a tenant, of one that is gone, of one misspelt. Nobody else gets it.
_BELONGS_TO_ONE = re.compile(r"[A-Za-z]\w*?__")
_URL_WITH_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
# dbt's own switches that would make a build do, or say, something else than what Dagster asked for.
_DBT_SWITCHES = (
    "DBT_QUIET",
    "DBT_EMPTY",
    "DBT_SAMPLE",
    "DBT_DEFER",
    "DBT_DEFER_STATE",
    "DBT_STATE",
    "DBT_FAVOR_STATE",
    "DBT_FULL_REFRESH",
    "DBT_INDIRECT_SELECTION",
    "DBT_RESOURCE_TYPES",
    "DBT_EXCLUDE_RESOURCE_TYPES",
    "DBT_WRITE_JSON",
    "DBT_LOG_FORMAT",
    "DBT_LOG_FORMAT_FILE",
    "DBT_LOG_LEVEL",
    "DBT_LOG_LEVEL_FILE",
    "DBT_EVENT_TIME_START",
    "DBT_EVENT_TIME_END",
)
_DBT_SECRET = "DBT_ENV_SECRET_"  # noqa: S105  dbt refuses such a variable in models and masks it in its logs
_OURS_IN_DBT = ("DBT_PROFILES_DIR", "DBT_PROJECT_DIR", "DBT_TARGET_PATH", "DBT_LOG_PATH", "DBT_TARGET", "DBT_PROFILE")


def from_process(root: Path) -> dict[str, str]:
    """The variables of this process, over those of the repository's `.env`, if there is one.

    Raises:
        SettingsError: with every line of the `.env` that cannot be read; a line is named, never shown.
    """
    return {**_written(root / ".env"), **os.environ}


def with_stand_ins(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The variables, and those of what stands in for services beside a running `apollo dev`, where nothing is set.

    Args:
        environ: all variables.
        folder: where the stand-ins keep what they know; empty where none run.
    """
    file = folder / "env"
    if not file.is_file() or not _writer_lives(file):
        return dict(environ)
    beside = {}
    for name, value in _written(file).items():
        tenant, _, plain = name.partition("__")
        own = f"{tenant}__"
        unset = {variable for service in unset_services(environ, own) for variable in STOOD_IN_BY[service]}
        if plain in unset and _given(environ, own, "DBT_TARGET") in ("", "local"):
            beside[name] = value
    return {**environ, **beside}


# What leads to a service; the keys lead to two.
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
STOOD_IN_BY: Mapping[str, tuple[str, ...]] = {
    "postgres": ("POSTGRES_URL",),
    "s3": ("AWS_ENDPOINT_URL_S3", *_KEYS),
    "dynamodb": ("AWS_ENDPOINT_URL_DYNAMODB", *_KEYS),
    "dbt_cloud": ("DBT_CLOUD_TOKEN", "DBT_CLOUD_ACCESS_URL"),
}


def unset_services(environ: Mapping[str, str], own: str) -> set[str]:
    """The services to which no setting leads, so that something may stand in for them.

    Args:
        environ: all variables.
        own: a tenant's prefix.
    """
    unset = {
        "postgres": not _given(environ, own, "POSTGRES_URL"),
        "dbt_cloud": not _given(environ, own, "DBT_CLOUD_TOKEN"),
    }
    keys = _given(environ, own, "AWS_ACCESS_KEY_ID")
    store, tables = (_given(environ, own, f"AWS_ENDPOINT_URL_{name}") for name in ("S3", "DYNAMODB"))
    # Keys and no endpoint are Amazon's; with the endpoint of one service they are that service's own.
    unset["s3"] = not store and (not keys or bool(tables))
    unset["dynamodb"] = not tables and (not keys or bool(store))
    return {service for service, is_unset in unset.items() if is_unset}


def _given(environ: Mapping[str, str], own: str, name: str) -> str:
    return (environ.get(f"{own}{name}") or environ.get(name) or "").strip()


def _writer_lives(file: Path) -> bool:
    """Whether the `apollo dev` that wrote the file, and is named first in it, still runs: the file may outlive it."""
    number = re.search(r"process (\d+)", file.read_text(encoding="utf-8").partition("\n")[0])
    try:
        os.kill(int(number.group(1)) if number else 0, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return number is not None


def _written(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    remedy = "Write `NAME=value` lines, in UTF-8."
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise SettingsError([Problem(".env", "cannot be read as a text file", remedy)]) from None
    wrong = [binding.original.line for binding in parse_stream(io.StringIO(text)) if binding.error]
    if wrong:
        raise SettingsError([Problem(f".env, line {line}", "is not a setting", remedy) for line in wrong])
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value is not None}


def for_tenant(environ: Mapping[str, str], tenant: str) -> dict[str, str]:
    """What a tenant's process is given: the shared variables and its own, never another tenant's.

    Its own are there twice: under the prefixed name, so that a child may be derived from a child, and under the plain
    one, where the tenant's Python and models look for them.

    Args:
        environ: all variables.
        tenant: the tenant's id.
    """
    own = prefix(tenant)
    kept = {
        name: value for name, value in environ.items() if name.startswith(own) or not _BELONGS_TO_ONE.match(name)
    }  # fmt: skip
    return {**kept, **_under_plain_names(environ, own)}


def without(environ: Mapping[str, str], tenant: str, names: Collection[str]) -> dict[str, str]:
    """An environment without some variables, neither under their plain names nor under the tenant's."""
    left_out = {name for plain in names for name in (plain, prefix(tenant) + plain)}
    return {name: value for name, value in environ.items() if name not in left_out}


def for_nobody(environ: Mapping[str, str], *processes: Process) -> dict[str, str]:
    """What webserver or daemon is given: no tenant's variables, and no connection to a warehouse.

    Args:
        environ: everybody's variables.
        processes: whose settings are among them; none: no setting is.
    """
    return {
        name: value
        for name, value in without_settings_of_others(environ, *processes).items()
        if not (name.upper().startswith(("SNOWFLAKE_", "DBT_")) or _BELONGS_TO_ONE.match(name))
    }


def without_settings_of_others(environ: Mapping[str, str], *processes: Process) -> dict[str, str]:
    """What is left of an environment without the settings that no process of these kinds reads.

    A tenant's process is given no session secret, no key of the platform's: a `.env` may hold all of them.
    """
    return {
        name: value
        for name, value in environ.items()
        if name not in BY_NAME or set(processes) & set(BY_NAME[name].used_by)
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
        and (name.startswith(_DBT_SECRET) or not _is_secret(name, value))
    }
    visible = {**shared, **declared, **mine}
    return {
        name: value
        for name, value in visible.items()
        if not (name.upper() in BY_NAME and BY_NAME[name.upper()].secret)
        and name not in (*_DBT_SWITCHES, "PYTHONDONTWRITEBYTECODE")
    }


def for_commands(environ: Mapping[str, str], tenant: str, declared: Mapping[str, str]) -> dict[str, str]:
    """What a tenant's own programs are given: what its process is, but for Dagster's own, and what it declares.

    Args:
        environ: the tenant's environment, as `for_tenant` gives it.
        tenant: the tenant's id.
        declared: `environment` of the tenant's `tenant.yaml`.
    """
    given = without_settings_of_others(environ, "code")
    shared = {name: value for name, value in given.items() if not name.startswith(("DAGSTER_", "APOLLO_"))}
    return {**shared, **declared, **_under_plain_names(environ, prefix(tenant))}


def for_container(
    given: Mapping[str, str],
    environ: Mapping[str, str],
    tenant: str,
    declared: Mapping[str, str],
    secrets: Collection[str] = (),
) -> dict[str, str]:
    """What of a process's variables goes into a tenant's container: none that is about this machine, as PATH is.

    That leaves the tenant's own, those that it declares, dbt's, and the settings that may differ by tenant.

    Args:
        given: what the process would be given natively.
        environ: the tenant's environment, as `for_tenant` gives it.
        tenant: the tenant's id.
        declared: `environment` of the tenant's `tenant.yaml`.
        secrets: the settings that are secret and shared, and that the tenant has a use for.
    """
    own = {*_under_plain_names(environ, prefix(tenant)), *declared, *secrets}
    return {
        name: value
        for name, value in given.items()
        if name in own or (_goes_along(name) and not (name in BY_NAME and BY_NAME[name].secret))
    }


def _goes_along(name: str) -> bool:
    """Whether a variable that is shared is of use in a container: dbt's, and the settings that may differ by tenant."""
    return name.startswith("DBT_") or (name in BY_NAME and BY_NAME[name].per_tenant and "APOLLO_" not in name)


def _under_plain_names(environ: Mapping[str, str], own: str) -> dict[str, str]:
    """A tenant's variables without their prefix; without settings that cannot differ by tenant (Dagster's database)."""
    plain = {name.removeprefix(own): value for name, value in environ.items() if name.startswith(own)}
    return {name: value for name, value in plain.items() if name not in BY_NAME or BY_NAME[name].per_tenant}


def _is_secret(name: str, value: str) -> bool:
    return bool(LOOKS_SECRET.search(name.upper()) or _URL_WITH_PASSWORD.search(value))
