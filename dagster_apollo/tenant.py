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
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.settings import LOOKS_SECRET, TARGETS, Value

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
# Names that DuckDB keeps for databases of its own: a tenant's database has the tenant's name.
_TAKEN_BY_DUCKDB = {"main", "system", "temp"}
# What Dagster takes as the owner of an asset.
OWNER = r"team:[A-Za-z0-9_.-]+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"
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
        if value not in zoneinfo.available_timezones():
            near = difflib.get_close_matches(value, zoneinfo.available_timezones(), 1)
            raise ValueError(f"{value!r} is not an IANA time zone" + (f" (did you mean {near[0]}?)" if near else ""))
        return value


class Retries(_Strict):
    """How a run that ended badly is taken up again: what was built stays, the rest is built."""

    count: Annotated[int, Field(ge=0, le=10)] = Field(2, description="How often at the most.")
    after_failure: bool = Field(
        False, description="Also when a model or test failed, not only when the process died under the run."
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
    warehouse: Literal["snowflake", "duckdb"] = Field(
        "snowflake", description="Where `dev` and `prod` build. `local` always builds on DuckDB."
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
    schedule: Schedule | None = Field(Schedule(), description="`null` for none.")
    retries: Retries = Retries()

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
        for name in value:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is not a variable's name")
            if LOOKS_SECRET.search(name.upper()):
                raise ValueError(f"{name} looks like a secret: set it in the environment, with the tenant's prefix")
        return value

    @field_validator("owner")
    @classmethod
    def _owner_form(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(OWNER, value):
            raise ValueError(f"{value!r} is neither an e-mail address nor `team:name`")
        return value


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
    config, config_problems = _read_config(folder, name)
    problems += config_problems
    project_dir, project, project_problems = _read_project(folder, name, config.project)
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


def _read_config(folder: Path, name: str) -> tuple[TenantConfig, list[Problem]]:
    file = folder / TENANT_FILE
    if not file.exists():
        other = folder / "tenant.yml"
        if other.exists():
            remedy = f"Rename it to {TENANT_FILE}."
            return TenantConfig(), [Problem(f"tenants/{name}/tenant.yml", "this name is not read", remedy)]
        return TenantConfig(), []
    content, problem = read_yaml(file, f"tenants/{name}/{TENANT_FILE}")
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


def read_yaml(file: Path, where: str) -> tuple[dict[str, Any] | None, Problem | None]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
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


def _has_control_characters(content: object) -> bool:
    if isinstance(content, str):
        return bool(re.search(r"[\x00-\x08\x0b-\x1f\ud800-\udfff]", content))
    if isinstance(content, dict):
        return any(_has_control_characters(part) for pair in content.items() for part in pair)
    return isinstance(content, list) and any(map(_has_control_characters, content))


def _read_project(folder: Path, name: str, wanted: str | None) -> tuple[Path, Mapping[str, Any], list[Problem]]:
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
