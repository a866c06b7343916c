"""A tenant: a folder under `tenants/` with a dbt project in it, and what its `tenant.yaml` says.

Finding tenants, reading them and everything that can be said against one without starting dbt stands here. Reading
one tenant never depends on another; what two of them do to each other is `crossings.py`.
"""

from __future__ import annotations

import difflib
import os
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.plans import ServicePlan
from dagster_apollo.run_places import RENDER_PLAN_IDS, RunPlace
from dagster_apollo.settings import BY_NAME, LOOKS_SECRET, TARGETS, Value

Target = Literal["local", "dev", "prod"]
PROJECT_FILE = "dbt_project.yml"
TENANT_FILE = "tenant.yaml"
_NOT_SEARCHED = {"dbt_packages", "dbt_modules", "dbt_internal_packages", "target", "logs", "integration_tests"}
_PATH_KEYS = (
    "model-paths",
    "seed-paths",
    "snapshot-paths",
    "analysis-paths",
    "macro-paths",
    "test-paths",
    "asset-paths",
    "docs-paths",
    "function-paths",
)
# Names of databases in DuckDB: its own, and the Postgres that is attached. A tenant's database has the tenant's name.
_TAKEN_BY_DUCKDB = {"main", "system", "temp", "postgres"}
# What Dagster takes as the owner of an asset.
OWNER = r"team:[A-Za-z0-9_.-]+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"
# The code host's first process, which serves everybody, reads `tenant.yaml`.
_MOST_ALIASES = 20
_DBT_NAME = re.compile(r"[^\W\d]\w*", re.ASCII)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Schedule(_Strict):
    """When the tenant's models are built without anybody asking."""

    cron: str = Field("0 6 * * *", description="Five cron fields.")
    timezone: str = Field("UTC", description="An IANA time zone.")
    select: str = Field("fqn:*", description="dbt's node selection.")
    exclude: str = Field("", description="dbt's node selection of what to leave out.")
    running_in: list[Target] = Field(["prod"], description="The targets in which the schedule runs by declaration.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return known_zone(value)


def known_zone(value: str) -> str:
    """The name of a time zone, or a ValueError that names the nearest one."""
    if value not in zoneinfo.available_timezones():
        near = difflib.get_close_matches(value, zoneinfo.available_timezones(), 1)
        raise ValueError(f"{value!r} is not an IANA time zone" + (f" (did you mean {near[0]}?)" if near else ""))
    return value


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


class Retries(_Strict):
    """How what ended badly is taken up again: what was built stays, the rest is built."""

    count: Annotated[int, Field(ge=0, le=10)] = Field(
        2,
        description="How often a run at the most. What it built before its process died, or a deploy, is no attempt.",
    )
    after_failure: bool = Field(
        False, description="Also when a model or test failed, not only when the process died under the run."
    )
    max_retries: Annotated[int, Field(ge=0, le=10)] = Field(
        0, description="How often dbt is started again within a run, for what failed and what was skipped by it."
    )
    delay_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(30, description="The wait before each of these.")


def plain_variables(value: dict[str, str]) -> dict[str, str]:
    """Variables that may stand in a file that everybody reads.

    Raises:
        ValueError: naming one that is no variable, or looks like a secret.
    """
    for name in value:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is not a variable's name")
        if LOOKS_SECRET.search(name.upper()):
            raise ValueError(f"{name} looks like a secret: set it in the environment, with the tenant's prefix")
    return value


class Container(_Strict):
    """The container that a tenant's dbt and commands run in, with `execution: docker`."""

    image: str = Field(description="The image, with a tag or digest.")
    pull: Literal["NEVER", "IF_NOT_PRESENT", "ALWAYS"] = Field(
        "IF_NOT_PRESENT", description="When the image is pulled."
    )
    network: str | None = Field(None, description="The network it is attached to; unset: the engine's own.")
    volumes: list[str] = Field([], description="`volume:/inside` or `/path:/inside`, the engine's paths; `:ro` or not.")
    environment: dict[str, str] = Field({}, description="Plain variables beside those of the tenant. No secrets.")
    memory_mb: int | None = Field(None, ge=64, description="The most memory it may use, in MiB; no swap beside it.")
    timeout_seconds: int = Field(3600, ge=1, description="The longest that a command may run.")

    @field_validator("image")
    @classmethod
    def _says_which(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][A-Za-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})", value):
            raise ValueError(f"{value!r} is not an image with its tag or digest, `registry/name:tag`")
        return value

    @field_validator("volumes")
    @classmethod
    def _plain_volumes(cls, value: list[str]) -> list[str]:
        for volume in value:
            if not re.fullmatch(r"(/[^:]*|[A-Za-z0-9][A-Za-z0-9_.-]+):/[^:]+(:ro)?", volume):
                raise ValueError(f"{volume!r} is not `volume:/inside` or `/path:/inside`, with `:ro` after it or not")
        return value

    @field_validator("environment")
    @classmethod
    def _no_secrets(cls, value: dict[str, str]) -> dict[str, str]:
        return plain_variables(value)


class Partitions(_Strict):
    """Daily partitions of a tenant's models."""

    start: str = Field(description="The first day, `2026-01-31`.")
    end: str | None = Field(None, description="The day after the last one; unset: every day that is over.")
    select: str = Field("fqn:*", description="dbt's node selection of what is partitioned; seeds never are.")
    timezone: str = Field("UTC", description="An IANA time zone.")
    reaches_dbt_as: Literal["vars", "event_time"] = Field(
        "vars",
        description="`vars` (partition_date, and partition_start and partition_end), or microbatch's event time.",
    )
    backfill: Literal["one_run", "run_each"] = Field(
        "one_run", description="Whether a backfill is one run or one a day."
    )

    @field_validator("start", "end", mode="before")
    @classmethod
    def _as_yaml_reads_a_day(cls, value: object) -> object:
        return value.isoformat() if type(value) is date else value

    @field_validator("start", "end")
    @classmethod
    def _a_day(cls, value: str | None) -> str | None:
        if value is not None and not (re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) and _is_day(value)):
            raise ValueError(f"{value!r} is not a day, `2026-01-31`")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return known_zone(value)

    @model_validator(mode="after")
    def _days_that_there_are(self) -> Partitions:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end, {self.end}, is not after start, {self.start}")
        if self.reaches_dbt_as == "event_time" and self.timezone != "UTC":
            raise ValueError("event_time knows days in UTC alone: leave timezone out, or take vars")
        return self


class Notification(_Strict):
    """Somebody who is told of failures."""

    url_variable: str = Field(description="The variable that holds the Apprise URL, without the tenant's prefix.")
    about: list[Literal["run_failure", "check_failure"]] = Field(
        ["run_failure", "check_failure"], description="What is told."
    )

    @field_validator("url_variable")
    @classmethod
    def _variables_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
            # Not shown: who writes the URL here writes a secret.
            raise ValueError("it is no variable's name, in capitals: the URL itself is set in the environment")
        if value in BY_NAME:
            raise ValueError(f"{value} is a setting of another meaning")
        return value


class DbtCloud(_Strict):
    """The dbt Cloud environment that builds the tenant's models, with `warehouse: dbt_cloud`."""

    account_id: Annotated[int, Field(ge=1)] = Field(description="The account's number.")
    project_id: Annotated[int, Field(ge=1)] = Field(description="The project's number.")
    environment_id: Annotated[int, Field(ge=1)] = Field(description="The environment's number.")
    poll_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        30, description="How often the sensor looks for runs that dbt Cloud started by itself."
    )
    load_seconds: Annotated[int, Field(ge=1, le=120)] = Field(
        30, description="How long a location that loads waits for dbt Cloud, where it knows an earlier state."
    )


class Ingestion(_Strict):
    """Where the tenant's dlt pipelines load."""

    destination: Literal["duckdb", "snowflake", "databricks"] = Field(
        description="`duckdb` is the tenant's own database file, which `local` always loads into, but for `dbt_cloud`."
    )


class SnowflakeConnection(_Strict):
    """The parts of the Snowflake connection that are no secret; environment variables with the prefix win."""

    account: str | None = Field(None, description="SNOWFLAKE_ACCOUNT of this tenant.")
    user: str | None = Field(None, description="SNOWFLAKE_USER of this tenant.")
    role: str | None = Field(None, description="SNOWFLAKE_ROLE of this tenant.")
    warehouse: str | None = Field(None, description="SNOWFLAKE_WAREHOUSE of this tenant.")
    database: str | None = Field(None, description="SNOWFLAKE_DATABASE of this tenant.")


class TenantConfig(_Strict):
    """`tenant.yaml`: every field has a default, an unknown one is an error."""

    description: str = Field("", description="One line for the code location's page.")
    owner: str | None = Field(None, description="An e-mail address or `team:name`: owner of assets that name none.")
    warehouse: Literal["snowflake", "duckdb", "postgres", "dbt_cloud"] = Field(
        "snowflake", description="Where `dev` and `prod` build. `local` builds on DuckDB, but for `dbt_cloud`."
    )
    services: list[Literal["postgres", "s3", "dynamodb"]] = Field(
        [], description="What the tenant needs beside its warehouse. On a laptop something stands in for each."
    )
    dbt_cloud: DbtCloud | None = Field(None, description="Which environment, with `warehouse: dbt_cloud`.")
    execution: Literal["process", "docker"] = Field(
        "process", description="Where dbt runs. APOLLO_EXECUTION overrides it where a platform has no engine."
    )
    container: Container | None = Field(None, description="The container, with `execution: docker`.")
    run_on: RunPlace = Field(
        "host",
        description="Where runs are executed in `dev` and `prod`: on the code host, or each in a job, container or pod "
        "of its own. APOLLO_RUN_ON overrides it.",
    )
    run_plan: ServicePlan = Field("1c-2g", description="How much a run has there, in Render's names of plans.")
    python: str | None = Field(
        None,
        description="A Python of its own, such as `/opt/old/bin/python`: with another dbt, adapter or packages, and "
        "this package. Such a tenant has a server that is always there.",
    )
    project: str | None = Field(None, description="The dbt project's folder, where there is more than one.")
    target_names: dict[Target, str] = Field(
        {}, description="The project's own names for our targets, where it accepts no others: `{local: qa}`."
    )
    seeds_first: bool | None = Field(
        None, description="Load seeds before everything. Unset: when a seed fills a table that a source reads."
    )
    dbt_version_check: bool = Field(True, description="`false` builds packages that ask for an older dbt.")
    environment: dict[str, str] = Field({}, description="Plain variables for `env_var`. No secrets.")
    snowflake: SnowflakeConnection = SnowflakeConnection()
    log_level: Literal["info", "debug"] = Field(
        "info", description="`debug`: a run's standard error holds all that dbt logs, SQL too."
    )
    exclude: str = Field("", description="dbt's node selection of what is left out of the definitions.")
    groups: dict[str, str] = Field({}, description="dbt's tag → the group of the models that carry it.")
    code_locations: list[str] = Field(
        [], description="Groups that are served by a code location of their own. None: one serves all of the tenant."
    )
    ingestion: Ingestion | None = Field(None, description="Where dlt loads, for a tenant that ingests.")
    automation: Literal["any_deps_updated", "eager"] | None = Field(
        None, description="The condition by which models follow what they are built from, without a schedule."
    )
    schedule: Schedule | None = Field(Schedule(), description="`null` for none.")
    partitions: Partitions | None = Field(None, description="Daily partitions; `null` for none.")
    retries: Retries = Retries()
    notifications: list[Notification] = Field([], description="Who is told of failures.")

    @field_validator("python")
    @classmethod
    def _python_of_its_own(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("/"):
            raise ValueError(f"{value!r} is no absolute path: a tenant is served from another folder than its own")
        return value

    @field_validator("target_names")
    @classmethod
    def _plain_target_names(cls, value: dict[str, str]) -> dict[str, str]:
        names = {target: value.get(target, target) for target in TARGETS}
        if len(set(names.values())) < len(names):
            raise ValueError("two of our targets would have the same name")
        if wrong := [name for name in value.values() if not re.fullmatch(r"[A-Za-z0-9_-]+", name)]:
            raise ValueError(f"{wrong[0]!r} is not a target's name: letters, digits, `_` and `-`")
        return value

    @field_validator("environment")
    @classmethod
    def _no_secrets(cls, value: dict[str, str]) -> dict[str, str]:
        return plain_variables(value)

    @field_validator("code_locations")
    @classmethod
    def _groups_that_name_locations(cls, value: list[str]) -> list[str]:
        for group in value:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]{0,59}", group):
                raise ValueError(f"{group!r} is not a group's name: letters, digits and `_`, the first no `_`")
        if twice := sorted({group for group in value if value.count(group) > 1}):
            raise ValueError(f"{twice[0]!r} stands there twice")
        return value

    @field_validator("groups")
    @classmethod
    def _groups_that_dagster_takes(cls, value: dict[str, str]) -> dict[str, str]:
        for group in value.values():
            if not re.fullmatch(r"[A-Za-z0-9_]+", group):
                raise ValueError(f"{group!r} is not a group's name: letters, digits and `_`")
        return value

    @model_validator(mode="after")
    def _which_environment(self) -> TenantConfig:
        if (self.warehouse == "dbt_cloud") != (self.dbt_cloud is not None):
            numbers = "`dbt_cloud: {account_id: 1, project_id: 2, environment_id: 3}`"
            raise ValueError(f"`warehouse: dbt_cloud` and {numbers} go together, with the numbers of its addresses")
        return self

    @model_validator(mode="after")
    def _which_container(self) -> TenantConfig:
        if self.execution == "docker" and self.container is None:
            raise ValueError("`execution: docker` needs `container: {image: …}`: which image dbt runs in")
        return self

    @model_validator(mode="after")
    def _what_can_go_elsewhere(self) -> TenantConfig:
        if reason := why_not_elsewhere(self, self.run_on, self.execution):
            raise ValueError(reason)
        return self

    @field_validator("owner")
    @classmethod
    def _owner_form(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(OWNER, value):
            raise ValueError(f"{value!r} is neither an e-mail address nor `team:name`")
        return value


def why_not_elsewhere(config: TenantConfig, run_on: RunPlace, execution: str) -> str | None:
    """What keeps a tenant's runs from being executed in that place; None: nothing.

    Args:
        config: what `tenant.yaml` says.
        run_on: the place.
        execution: where dbt runs, overridden or not.
    """
    if run_on == "host":
        return None
    if config.warehouse == "duckdb":
        return f"`run_on: {run_on}` and `warehouse: duckdb`: the database is a file on the code host"
    if config.ingestion and config.ingestion.destination == "duckdb":
        return f"`run_on: {run_on}` and `ingestion: {{destination: duckdb}}`: the database is a file on the code host"
    if execution == "docker":
        return f"`run_on: {run_on}` and `execution: docker`: nobody there may start containers"
    if run_on == "render_job" and config.run_plan not in RENDER_PLAN_IDS:
        return f"`run_plan: {config.run_plan}` is no size of a one-off job: {', '.join(RENDER_PLAN_IDS)} are"
    return None


@dataclass(frozen=True)
class Tenant:
    """A folder that can be served, as far as reading it tells.

    Attributes:
        name: the folder's name: id, code location and first part of every asset key.
        folder: the folder.
        project_dir: where its `dbt_project.yml` lies, in the folder or below.
        project: the content of `dbt_project.yml`, unrendered.
        config: the content of `tenant.yaml`, or its defaults.
    """

    name: str
    folder: Path
    project_dir: Path
    project: Mapping[str, Any]
    config: TenantConfig

    def profile_name(self, default: str) -> str:
        """The profile that the project asks for; `default` where it names none, or by a Jinja expression."""
        asked = self.project.get("profile")
        return asked if isinstance(asked, str) and asked and "{" not in asked else default

    def target_name(self, target: str) -> str:
        """The project's own name for one of our targets."""
        return {str(ours): theirs for ours, theirs in self.config.target_names.items()}.get(target, target)

    def connection_settings(self) -> dict[str, Value]:
        """What `tenant.yaml` says of the connection, by the setting's name."""
        return {f"SNOWFLAKE_{name.upper()}": value for name, value in self.config.snowflake.model_dump().items()}

    @property
    def has_project(self) -> bool:
        """Whether a dbt project lies in the folder: dbt Cloud may clone it from elsewhere."""
        return bool(self.project)

    @property
    def definitions_file(self) -> Path:
        """The tenant's own Python, if it has any."""
        return self.folder / "definitions.py"


def tenant_names(tenants_dir: Path) -> list[str]:
    """The folders that mean to be tenants, served or not, in order. Those that begin with `_` or `.` do not."""
    if not tenants_dir.is_dir():
        return []
    return sorted(
        entry.name for entry in tenants_dir.iterdir() if entry.is_dir() and not entry.name.startswith(("_", "."))
    )


def chosen_names(tenants_dir: Path, wanted: str | None) -> list[str]:
    """The tenants to serve: all, or those of a list separated by commas.

    Raises:
        TenantError: when the list names a folder that is not there.
    """
    names = tenant_names(tenants_dir)
    if wanted is None or not wanted.strip():
        return names
    chosen = [part.strip() for part in wanted.split(",") if part.strip()]
    if not chosen:
        raise TenantError([Problem("TENANTS", f"{wanted!r} names no tenant", f"There are: {', '.join(names)}.")])
    problems = [_unknown_tenant(name, names, tenants_dir) for name in chosen if name not in names]
    if problems:
        raise TenantError(problems, "there is no such tenant")
    return sorted(set(chosen))


def load_tenant(tenants_dir: Path, name: str) -> Tenant:
    """Read one tenant.

    Raises:
        TenantError: with everything that keeps the folder from being served, as far as it shows without dbt.
    """
    folder = tenants_dir / name
    if not folder.is_dir() or name.startswith(("_", ".")):
        raise TenantError([_unknown_tenant(name, tenant_names(tenants_dir), tenants_dir)])
    problems = list(_name_problems(name))
    config, config_problems = read_config(folder, name)
    problems += config_problems
    optional = config.warehouse == "dbt_cloud"  # whose project is wherever dbt Cloud clones it from
    project_dir, project, project_problems = _read_project(folder, name, config.project, optional=optional)
    problems += project_problems
    problems += _unservable_files(folder, project_dir, project, name)
    if problems:
        raise TenantError(problems, f"the tenant {name} cannot be served")
    return Tenant(name, folder, project_dir, project, config)


def _unknown_tenant(name: str, names: list[str], tenants_dir: Path) -> Problem:
    near = difflib.get_close_matches(name, names, 1)
    known = ", ".join(names) or "none yet"
    hint = f"Did you mean {near[0]}?" if near else f"There are: {known}."
    return Problem(name, f"no such folder under {tenants_dir.name}/", hint)


def can_be_a_name(name: str) -> bool:
    """Whether a folder of this name can be a code location, the prefix of variables and a database."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}", name) and "__" not in name
    return bool(plain) and name.lower() not in _TAKEN_BY_DUCKDB


def _name_problems(name: str) -> Iterator[Problem]:
    """Dagster takes letters, digits and `_` in the names of ops and groups that are made from the folder's name."""
    if can_be_a_name(name):
        return
    better = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", name)).strip("_").lower()[:60] or "client"
    better = better if better[0].isalpha() else f"t_{better}"
    reason = "is not letters, digits and single `_`, a letter first"
    if len(name) > 60:
        reason = "is longer than 60 characters"
    elif name.lower() in _TAKEN_BY_DUCKDB:
        reason, better = "is one that DuckDB keeps for a database of its own", f"{better}_client"
    yield Problem(
        f"tenants/{name}",
        f"the folder's name {reason}, so it cannot be a code location and a variable's prefix",
        f"Rename it: `git mv 'tenants/{name}' tenants/{better}`.",
    )


def read_config(folder: Path, name: str) -> tuple[TenantConfig, list[Problem]]:
    """What `tenant.yaml` says, or its defaults, and what is wrong with it; nothing else of the folder is read."""
    file = folder / TENANT_FILE
    if not file.exists():
        other = folder / "tenant.yml"
        if other.exists():
            remedy = f"Rename it to {TENANT_FILE}."
            return TenantConfig(), [Problem(f"tenants/{name}/tenant.yml", "this name is not read", remedy)]
        return TenantConfig(), []
    if not file.is_file():  # a pipe would keep the reader for ever; `_unservable_files` names it
        return TenantConfig(), []
    content, problem = read_yaml(file, f"tenants/{name}/{TENANT_FILE}", most_aliases=_MOST_ALIASES)
    if problem:
        return TenantConfig(), [problem]
    try:
        return TenantConfig.model_validate(content or {}), []
    except ValidationError as error:
        where = f"tenants/{name}/{TENANT_FILE}"
        return TenantConfig(), [_config_problem(where, entry["loc"], entry) for entry in error.errors()]


def _config_problem(where: str, path: tuple[int | str, ...], entry: Mapping[str, Any]) -> Problem:
    dotted = ".".join(str(part) for part in path) or "the file"
    if entry["type"] == "extra_forbidden":
        known = _known_fields(path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, 1)
        hint = f"Did you mean `{near[0]}`? " if near else ""
        return Problem(f"{where}: {dotted}", "there is no such field", f"{hint}Known are: {', '.join(known)}.")
    message = entry["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:] if message[1:2].islower() else message
    return Problem(f"{where}: {dotted}", message, "See docs/tenants.md for the fields.")


def _known_fields(path: tuple[int | str, ...]) -> list[str]:
    model: Any = TenantConfig
    for part in path:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)


def read_yaml(
    file: Path, where: str, *, most_aliases: int | None = None
) -> tuple[dict[str, Any] | None, Problem | None]:
    """The fields in a file, or what is wrong with it.

    Args:
        file: which.
        where: how a problem calls it.
        most_aliases: how many `*names` it may hold: a few dozen that name each other are more values than memory holds.
    """
    try:
        text = file.read_text(encoding="utf-8")
        if most_aliases is not None and _aliases(text) > most_aliases:
            return None, Problem(where, f"holds more than {most_aliases} aliases (`*name`)", "Write the values out.")
        content = yaml.safe_load(text)
    except UnicodeDecodeError:
        return None, Problem(where, "is not UTF-8 text", "Save it as UTF-8.")
    except OSError as error:
        return None, Problem(where, f"cannot be read: {error.strerror}", "Check the file and its permissions.")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        told = getattr(error, "problem", None) or "it cannot be parsed"
        return None, Problem(f"{where}{place}", f"is not valid YAML: {told}", "Mend the file.")
    if _has_control_characters(content):
        return None, Problem(where, "holds a control character or half of a character in a text", "Take it out.")
    if content is not None and not isinstance(content, dict):
        return None, Problem(where, f"holds a {type(content).__name__}, not fields", "Write `field: value` lines.")
    return content, None


def _aliases(text: str) -> int:
    return sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader))


def _has_control_characters(content: object) -> bool:
    if isinstance(content, str):
        return bool(re.search(r"[\x00-\x08\x0b-\x1f\ud800-\udfff]", content))
    if isinstance(content, dict):
        return any(_has_control_characters(part) for pair in content.items() for part in pair)
    return isinstance(content, list) and any(map(_has_control_characters, content))


def _read_project(
    folder: Path, name: str, wanted: str | None, *, optional: bool
) -> tuple[Path, Mapping[str, Any], list[Problem]]:
    where = f"tenants/{name}"
    if wanted is not None:
        found = [(folder / wanted).resolve()]
        if not found[0].is_relative_to(folder.resolve()) or not (found[0] / PROJECT_FILE).is_file():
            remedy = f"Name a folder of this tenant that holds a {PROJECT_FILE}."
            return folder, {}, [Problem(f"{where}/{TENANT_FILE}: project", f"{wanted!r} is no dbt project", remedy)]
    elif (folder / PROJECT_FILE).is_file():
        found = [folder]
    else:
        found = list(_projects_below(folder))
    if not found and optional:
        return folder, {}, []
    if not found:
        remedy = f"Put a dbt project there: `apollo tenant new {name} --from PATH` copies one."
        return folder, {}, [Problem(where, f"holds no {PROJECT_FILE}", remedy)]
    if len(found) > 1:
        places = ", ".join(sorted(str(place.relative_to(folder)) for place in found))
        remedy = f"Say which in {TENANT_FILE}: `project: {found[0].relative_to(folder)}`."
        return folder, {}, [Problem(where, f"holds several dbt projects ({places})", remedy)]
    project_dir = found[0]
    shown = f"{where}/{(project_dir / PROJECT_FILE).relative_to(folder.resolve() if wanted else folder)}"
    content, problem = read_yaml(project_dir / PROJECT_FILE, shown)
    if problem:
        return project_dir, {}, [problem]
    content = content or {}
    problems = list(paths_that_leave(content, project_dir, folder, shown))
    if not isinstance(content.get("name"), str) or not _DBT_NAME.fullmatch(content["name"]):
        remedy = "Give `name:` in letters, digits and `_`."
        problems.append(Problem(shown, f"its `name` is {content.get('name')!r}", remedy))
    elif content["name"] == "dbt":
        problems.append(Problem(shown, "its `name` is 'dbt', as that of dbt's own macros", "Give it another."))
    return project_dir, content, problems


def _projects_below(folder: Path, depth: int = 3) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
            if entry.name in _NOT_SEARCHED:
                continue
            if (entry / PROJECT_FILE).is_file():
                yield entry
            elif depth > 1:
                yield from _projects_below(entry, depth - 1)


def paths_that_leave(project: Mapping[str, Any], project_dir: Path, folder: Path, where: str) -> Iterator[Problem]:
    """dbt reads and writes wherever the project's paths point; a tenant's stay in its folder."""
    entries = [(key, value) for key in _PATH_KEYS for value in _as_list(project.get(key))]
    entries += [("packages-install-path", value) for value in _as_list(project.get("packages-install-path"))]
    for key, value in entries:
        if not isinstance(value, str) or "{" in value:
            yield Problem(f"{where}: {key}", f"{value!r} is not a plain path", "Write the folder's name.")
        elif not Path(os.path.realpath(project_dir / value)).is_relative_to(os.path.realpath(folder)):
            yield Problem(f"{where}: {key}", f"{value!r} leads out of the tenant's folder", "Keep it inside.")
    # target-path and log-path need no such check: they are overridden on every call.


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _unservable_files(folder: Path, project_dir: Path, project: Mapping[str, Any], name: str) -> Iterator[Problem]:
    """A symlink that leaves the folder would show dbt, and through it the warehouse's log, another's files; a pipe
    would keep whoever reads it waiting for ever."""
    root = os.path.realpath(folder)
    packages_dir = installed_packages(project_dir, project)
    for directory, folders, files in os.walk(folder):
        here = Path(directory)
        for entry in (*folders, *files):
            path = here / entry
            shown = f"tenants/{name}/{path.relative_to(folder)}"
            if path.is_symlink():
                # What `dbt deps` linked; `dbt/preparation.py` looks after those.
                if here != packages_dir and not Path(os.path.realpath(path)).is_relative_to(root):
                    what = "is a symlink that leaves the tenant's folder"
                    yield Problem(shown, what, "Replace it by the file itself.")
            elif not path.is_dir() and not path.is_file():
                yield Problem(shown, "is neither a file nor a folder", "Remove it.")


def installed_packages(project_dir: Path, project: Mapping[str, Any]) -> Path:
    """Where `dbt deps` puts a project's packages."""
    return project_dir / str(project.get("packages-install-path") or "dbt_packages")
