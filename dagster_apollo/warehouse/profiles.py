"""The profile that dbt is given: from a tenant's settings to the text of `profiles.yml`, and to its folder.

The text is a pure function of settings, the same byte for byte from boot to boot, so that dbt goes on parsing
partially. No secret is in it: the key is an `env_var` reference whose prefix makes dbt refuse it in models and mask it
in logs. What a tenant brings as `profiles.yml` is never read.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from dagster_apollo.errors import KeyPairError, Problem, SettingsError
from dagster_apollo.settings import BY_NAME, KEY_VARIABLES, TARGETS, Values, read, shared_problems
from dagster_apollo.tenant import Tenant
from dagster_apollo.warehouse.duckdb import duckdb_output
from dagster_apollo.warehouse.postgres import PostgresServer, postgres_output
from dagster_apollo.warehouse.services import UNSET, missing_settings, reference, service_secrets, wrong_endpoints

if TYPE_CHECKING:  # reading keys takes ten megabytes, which a tenant without one need not have
    from dagster_apollo.warehouse.keypair import PrivateKey

KEY_VARIABLE = "DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY"
_FOLDER = "apollo-profile"
_REQUIRED = ("SNOWFLAKE_ACCOUNT", "SNOWFLAKE_USER", "SNOWFLAKE_ROLE", "SNOWFLAKE_WAREHOUSE", "SNOWFLAKE_DATABASE")


@dataclass(frozen=True)
class Profile:
    """A tenant's way to its warehouse.

    Attributes:
        name: the profile's name, as the tenant's project asks for it.
        target: the project's name of the target that is built by default.
        targets: the names of every target that can be built with what is set.
        adapter: dbt's name of the warehouse that `target` builds on: `duckdb`, `postgres` or `snowflake`.
        place: which warehouse that is; two tenants with one place could write the same table.
        text: the content of `profiles.yml`.
        secrets: variables that dbt needs beside it; never shown.
        identity: what a message may say of the connection: account, user, role and the key's fingerprint.
        notes: what is worth a warning, such as a passphrase beside a plain key.
        missing: settings without which the project can be parsed but not built, on `local` alone.
    """

    name: str
    target: str
    targets: tuple[str, ...]
    adapter: str
    place: str
    text: str
    secrets: Mapping[str, str] = field(repr=False)
    identity: str = ""
    notes: tuple[Problem, ...] = ()
    missing: tuple[Problem, ...] = ()


def build_profile(tenant: Tenant, values: Values, state_dir: Path, *, parse_only: bool = False) -> Profile:
    """The profile of one tenant.

    On `local` the settings of dev and prod are not needed: targets that lack them are left out, and nothing is raised.
    Nor are those of the tenant's services: they are `missing` then, and dbt is not started before they are there.

    Args:
        tenant: whose.
        values: the settings as the tenant sees them.
        state_dir: where DuckDB files are kept.
        parse_only: fill in what is not set, for a `dbt parse` that connects to nothing, as a pull request's does.

    Raises:
        SettingsError: with everything that keeps `dev` or `prod` from connecting.
    """
    outputs: dict[str, dict[str, Any]] = {
        "local": duckdb_output(tenant, values, state_dir, "local", _threads(values, "local"))
    }
    services = tuple(tenant.config.services)
    wrong = [] if parse_only else wrong_endpoints(tenant, values)
    missing = [] if parse_only else missing_settings(tenant, values, services)
    secrets = service_secrets(values, services)
    identity = ""
    notes: tuple[Problem, ...] = ()
    if parse_only:
        known = {**values, **{name: values[name] or UNSET for name in _REQUIRED}}
        outputs |= _deployed_outputs(tenant, Values(known, values.sources), state_dir)
        secrets |= _warehouse_secrets(tenant, values, None)
    else:
        key, problems = _warehouse_problems(tenant, values)
        if not problems and not missing:
            outputs |= _deployed_outputs(tenant, values, state_dir)
            secrets |= _warehouse_secrets(tenant, values, key)
            notes = key.notes if key else ()
            identity = _identity(values, key) if key else ""
        problems += [problem for problem in [*missing, *wrong] if problem not in problems]
        if problems and values.target != "local":
            kind = "Snowflake " if tenant.config.warehouse == "snowflake" and not (missing or wrong) else ""
            raise SettingsError(problems, f"the {kind}settings of {tenant.name} are not right")
    name = tenant.profile_name(str(values["DBT_PROFILE_NAME"]))
    named = {tenant.target_name(target): outputs[target] for target in TARGETS if target in outputs}
    target = tenant.target_name(values.target)
    text = yaml.safe_dump({name: {"target": target, "outputs": named}}, sort_keys=True, allow_unicode=True)
    adapter = named[target]["type"]
    place = _place(named[target], values)
    return Profile(name, target, tuple(named), adapter, place, text, secrets, identity, notes, (*missing, *wrong))


def adapter_of(warehouse: str, target: str) -> str:
    """dbt's name of what a tenant builds on.

    Args:
        warehouse: of `tenant.yaml`.
        target: of dbt.
    """
    # Whatever dbt Cloud builds on: its project is only parsed here.
    return "duckdb" if target == "local" or warehouse == "dbt_cloud" else warehouse


def _deployed_outputs(tenant: Tenant, values: Values, state_dir: Path) -> dict[str, dict[str, Any]]:
    """The outputs of `dev` and `prod`."""
    outputs = {}
    for target in ("dev", "prod"):
        threads = _threads(values, target)
        match adapter_of(tenant.config.warehouse, target):
            case "duckdb":
                outputs[target] = duckdb_output(tenant, values, state_dir, target, threads)
            case "postgres":
                outputs[target] = postgres_output(values, threads)
            case _:
                outputs[target] = _snowflake(values, target)
    return outputs


def _warehouse_problems(tenant: Tenant, values: Values) -> tuple[PrivateKey | None, list[Problem]]:
    """What keeps `dev` and `prod` from connecting to the tenant's warehouse, and the key where it takes one."""
    match tenant.config.warehouse:
        case "duckdb" | "dbt_cloud":
            return None, []
        case "postgres":
            return None, missing_settings(tenant, values, ("postgres",))
        case _:
            return snowflake_key(tenant, values)


def _warehouse_secrets(tenant: Tenant, values: Values, key: PrivateKey | None) -> dict[str, str]:
    match tenant.config.warehouse:
        case "duckdb" | "dbt_cloud":
            return {}
        case "postgres":
            return service_secrets(values, ("postgres",))
        case _:
            return {KEY_VARIABLE: key.der_base64() if key else UNSET}


def _place(output: Mapping[str, Any], values: Values) -> str:
    match output["type"]:
        case "duckdb":
            return str(output["path"]).lower()
        case "postgres":
            return PostgresServer.of(values).place
        case _:
            return f"{output.get('host', '')}/{output['account']}".lower()


def snowflake_key(tenant: Tenant, values: Values) -> tuple[PrivateKey | None, list[Problem]]:
    """The tenant's key, and everything that is wrong with its Snowflake settings."""
    problems = [
        Problem(values.source(name, tenant.name), "is not set", f"{BY_NAME[name].help} Set it, or {name} for all.")
        for name in _REQUIRED
        if not values[name]
    ]
    key, key_problems = _read_key(values, tenant.name)
    return key, problems + key_problems


def _read_key(values: Values, tenant: str | None) -> tuple[PrivateKey | None, list[Problem]]:
    from dagster_apollo.warehouse.keypair import read_private_key

    try:
        key = read_private_key(
            pem=values.text("SNOWFLAKE_PRIVATE_KEY_PEM"),
            b64=values.text("SNOWFLAKE_PRIVATE_KEY_B64"),
            path=values.text("SNOWFLAKE_PRIVATE_KEY_PATH"),
            passphrase=values.text("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"),
            names=dict(zip(("pem", "b64", "path", "passphrase"), _key_names(tenant, values), strict=True)),
        )
    except KeyPairError as error:
        return None, list(error.problems)
    return key, []


def require_shared_settings(environ: Mapping[str, str]) -> None:
    """Refuse to start on what all tenants share and is wrong: such a deploy must never go live.

    A shared setting that is merely missing is a matter of the tenants that would need it.

    Raises:
        SettingsError: with every shared variable that cannot be read, the shared key among them.
    """
    problems = shared_problems(environ)
    if not problems and any(environ.get(name, "").strip() for name in KEY_VARIABLES):
        values = read({name: value for name, value in environ.items() if name in BY_NAME})
        if values.target != "local":
            problems += _read_key(values, None)[1]
    if problems:
        raise SettingsError(problems, "the settings that all tenants share are not right")


def _key_names(tenant: str | None, values: Values) -> tuple[str, ...]:
    return tuple(values.source(name, tenant) for name in (*KEY_VARIABLES, "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"))


def _identity(values: Values, key: PrivateKey) -> str:
    account, user, role = (values.text(f"SNOWFLAKE_{name}") for name in ("ACCOUNT", "USER", "ROLE"))
    return f"account {account}, user {user}, role {role}, key {key.fingerprint}"


def _threads(values: Values, target: str) -> int:
    chosen = values.integer("DBT_THREADS") if "DBT_THREADS" in values.sources else None
    return chosen or int(BY_NAME["DBT_THREADS"].default_for(target) or 1)


def _snowflake(values: Values, target: str) -> dict[str, Any]:
    output = {
        "type": "snowflake",
        "account": values["SNOWFLAKE_ACCOUNT"],
        "user": values["SNOWFLAKE_USER"],
        "role": values["SNOWFLAKE_ROLE"],
        "warehouse": values["SNOWFLAKE_WAREHOUSE"],
        "database": values["SNOWFLAKE_DATABASE"],
        # The adapter asks for the field; an empty one leaves routing to `+schema` alone.
        "schema": values["DBT_SCHEMA"] or "",
        "threads": _threads(values, target),
        "private_key": reference(KEY_VARIABLE),
        # A token is made per login and lives a minute: with many threads some logins come late and are tried again.
        "connect_retries": 3,
        "connect_timeout": 10,
    }
    optional = {name.lower(): values[f"SNOWFLAKE_{name}"] for name in ("HOST", "PORT", "PROTOCOL")}
    return output | {name: value for name, value in optional.items() if value is not None}


def write_profile(profile: Profile) -> Path:
    """Put a profile where dbt finds it: a new folder that nobody else may enter and that goes with this process.

    It stays while a fork of this process lives, which uses it too. What processes that were killed have left is removed
    on the way.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_FOLDER}-*-*"):
        pid = left.name.split("-")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            _remove_unless_held(left)  # another user's stays: it cannot be removed
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}-{os.getpid()}-"))  # mkdtemp makes it 0700
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)  # of this open folder, which forks have in common and programs do not inherit
    atexit.register(_give_up, folder, held)
    (folder / "profiles.yml").write_text(profile.text, encoding="utf-8")
    return folder


def _give_up(folder: Path, held: int) -> None:
    os.close(held)
    _remove_unless_held(folder)


def _remove_unless_held(folder: Path) -> None:
    try:
        found = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(found)
