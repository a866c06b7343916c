"""A tenant's dbt project as this process can run it: folder, profile, environment, and where artifacts go.

Made once when a process starts, from the tenant's folder and the environment; from then on nothing reads either
again. Nothing is ever written into the tenant's folder but by `dbt deps`.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from dagster_apollo import environment
from dagster_apollo.dbt.in_container import TARGET_PATH, dbt_task
from dagster_apollo.errors import Problem, SettingsError, TenantError
from dagster_apollo.execution.command import Command, ContainerCommand
from dagster_apollo.execution.container import ContainerPlace, ContainerRunner, ContainerTask
from dagster_apollo.execution.image_files import digest_of_files
from dagster_apollo.execution.place import container_place, execution_of, runner_in
from dagster_apollo.execution.process import NativeCommand
from dagster_apollo.execution.starter import dbt_forks
from dagster_apollo.settings import Values, colliding_prefixes, read
from dagster_apollo.tenant import Tenant, load_tenant, tenant_names
from dagster_apollo.warehouse.duckdb import EXTENSIONS_VARIABLE, duckdb_file, extension_folder, link_extensions
from dagster_apollo.warehouse.profiles import Profile, build_profile, write_profile
from dagster_apollo.warehouse.services import settings_of

# dbt's own: what it has parsed, which it takes up when little has changed.
PARTIAL_PARSE = "partial_parse.msgpack"


@dataclass(frozen=True)
class Places:
    """The folders that everything else is found from.

    Attributes:
        root: the repository; relative settings start here.
        tenants_dir: the tenants' folders.
        state_dir: what this machine keeps.
    """

    root: Path
    tenants_dir: Path
    state_dir: Path

    @classmethod
    def find(cls, environ: Mapping[str, str], root: Path) -> Places:
        """The places that an environment names."""
        values = read({name: environ[name] for name in ("APOLLO_TENANTS_DIR", "APOLLO_STATE_DIR") if name in environ})
        return cls(root, root / str(values["APOLLO_TENANTS_DIR"]), root / str(values["APOLLO_STATE_DIR"]))

    def of_tenant(self, name: str) -> Places:
        """The same where tenants are walled off from each other: each keeps its state in a folder of its own."""
        return replace(self, state_dir=self.state_dir / "tenants" / name)


def repository_root() -> Path:
    """The folder that this package stands in: the fork."""
    return Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Workspace:
    """One tenant, ready for dbt.

    Attributes:
        tenant: whose.
        values: the settings as the tenant sees them.
        profile: the way to its warehouse.
        profiles_dir: where `profiles.yml` lies, in a folder of this process's own.
        prepared_dir: the manifest and partial parse of the default target.
        runs_dir: below it each dbt invocation has a folder while it runs.
        containers: who runs its commands in containers; None: they run natively.
    """

    tenant: Tenant
    values: Values
    profile: Profile
    profiles_dir: Path
    prepared_dir: Path
    runs_dir: Path
    containers: ContainerRunner | None
    _environment: Mapping[str, str] = field(repr=False)
    _commands_environment: Mapping[str, str] = field(repr=False)

    def dbt(
        self, words: Sequence[str], target_path: Path, *, events: bool = True, run_id: str | None = None
    ) -> Command:
        """A dbt that is about to start, where the tenant says: natively or in a container.

        Args:
            words: the command and its arguments.
            target_path: where its artifacts come to lie.
            events: as JSON lines of every level, for a program; else as text, for a person.
            run_id: the Dagster run that it belongs to, which its container is labelled with.
        """
        if self.containers is None and (forks := dbt_forks()):
            if not forks.has_parsed(words, self.tenant.project_dir):
                self._bring_partial_parse(target_path)
            return forks.command(words, self.environment(target_path, events=events), self.tenant.project_dir)
        self._bring_partial_parse(target_path)
        if self.containers is None:
            return self.dbt_program(words, target_path, events=events)
        task = dbt_task(
            words,
            self.environment(target_path, events=events),
            folder=self.tenant.folder,
            project_dir=self.tenant.project_dir,
            profile=self.profile.text,
            target_path=target_path,
            made_of=digest_of_files(self.tenant.folder),
            run_id=run_id,
        )
        return ContainerCommand(self.containers, task, {TARGET_PATH: target_path})

    @property
    def where(self) -> str:
        """Where its commands run, to be said after what they are: `, in a container of IMAGE`, or nothing."""
        container = self.tenant.config.container
        return f", in a container of {container.image}" if self.containers and container else ""

    def require_services(self) -> None:
        """Refuse to start dbt where it would only find that it cannot connect.

        Raises:
            SettingsError: naming the settings of the tenant's services that are missing, on `local`; elsewhere they
                keep the workspace from being opened.
        """
        if self.profile.missing:
            raise SettingsError(self.profile.missing, f"{self.tenant.name} cannot be built")

    def native_dbt(self, words: Sequence[str], target_path: Path, *, events: bool = True) -> Command:
        """The same as a process of this machine whatever the tenant says: `deps` and `parse`, which build nothing."""
        forks = dbt_forks()
        if forks and not forks.has_parsed(words, self.tenant.project_dir):
            return forks.command(words, self.environment(target_path, events=events), self.tenant.project_dir)
        return self.dbt_program(words, target_path, events=events)

    def dbt_program(self, words: Sequence[str], target_path: Path, *, events: bool = True) -> NativeCommand:
        """The same as a program of this machine in any case."""
        return NativeCommand(("dbt", *words), self.environment(target_path, events=events), self.tenant.project_dir)

    def command(
        self, words: Sequence[str], variables: Mapping[str, str] | None = None, *, run_id: str | None = None
    ) -> Command:
        """Another command of the tenant's, where its dbt runs too, with its folder as the working folder.

        Args:
            words: the program and its arguments; `python` is the one that this process runs under. No secrets.
            variables: beside those of the tenant, its secrets among them.
            run_id: the Dagster run that it belongs to, which its container is labelled with.
        """
        environment = {**self._commands_environment, **(variables or {})}
        if self.containers is None:
            return NativeCommand(words, environment, self.tenant.folder)
        made_of = digest_of_files(self.tenant.folder)
        task = ContainerTask(tuple(words), environment, made_of=made_of, run_id=run_id)
        return ContainerCommand(self.containers, task)

    def environment(self, target_path: Path, *, events: bool = True) -> dict[str, str]:
        """Every variable that dbt gets."""
        logging = {
            "DBT_LOG_FORMAT": "json",
            "DBT_LOG_LEVEL": "debug",
            "DBT_LOG_LEVEL_FILE": "none",
            "DBT_QUIET": "false",  # a project's own `flags` may say otherwise; the events are what is read
        }
        return {
            **self._environment,
            **self.profile.secrets,
            "DBT_PROFILES_DIR": str(self.profiles_dir),
            "DBT_PROJECT_DIR": str(self.tenant.project_dir),
            "DBT_PROFILE": self.profile.name,
            "DBT_TARGET": self.profile.target,
            "DBT_TARGET_PATH": str(target_path),
            "DBT_LOG_PATH": str(target_path),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DBT_USE_COLORS": "false",
            "DBT_WRITE_JSON": "true",  # a project's own `flags` may say otherwise; the results are read from it
            "DBT_VERSION_CHECK": str(self.tenant.config.dbt_version_check).lower(),
            "DAGSTER_DBT_CLI": "true",
            "PYTHONUNBUFFERED": "1",
            **(logging if events else {}),
        }

    @contextmanager
    def run_folder(self, label: str) -> Iterator[Path]:
        """A folder for one invocation's artifacts; removed whatever happens."""
        folder = self.runs_dir / f"{label}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _bring_partial_parse(self, target_path: Path) -> None:
        """For a dbt that parses the project: a copy, since it writes to it."""
        parsed = self.prepared_dir / PARTIAL_PARSE
        if parsed.exists() and target_path.is_relative_to(self.runs_dir):
            shutil.copy(parsed, target_path)


def read_tenant(environ: Mapping[str, str], places: Places, name: str) -> tuple[Tenant, Values]:
    """A tenant's folder, and the settings as the tenant sees them.

    Raises:
        TenantError: the folder cannot be served.
        SettingsError: a setting cannot be read.
    """
    tenant = load_tenant(places.tenants_dir, name)
    everyone = tenant_names(places.tenants_dir)
    if rivals := [other for pair in colliding_prefixes(everyone) if name in pair for other in pair if other != name]:
        what = f"its variables' prefix collides with that of tenants/{', tenants/'.join(rivals)}"
        raise TenantError([Problem(f"tenants/{name}", what, "Rename one of the folders.")])
    return tenant, read(environ, name, tenant.connection_settings())


def open_workspace(environ: Mapping[str, str], places: Places, name: str, *, parse_only: bool = False) -> Workspace:
    """Read a tenant's folder and settings, check its key, and write its profile.

    Args:
        environ: the variables of this process, all tenants' or this one's.
        places: the folders.
        name: the tenant.
        parse_only: nothing will connect, so that settings of the warehouse may be missing.

    Raises:
        TenantError: the folder cannot be served.
        SettingsError: the tenant's settings or its key are not right.
    """
    tenant, values = read_tenant(environ, places, name)
    # Who is told of failures is no matter of dbt's, and the URLs are secrets whatever their variables are called.
    told = [entry.url_variable for entry in tenant.config.notifications]
    own = environment.without(environment.for_tenant(environ, name), name, told)
    profile = build_profile(tenant, values, places.state_dir, parse_only=parse_only)
    for target in ("local", "dev", "prod"):
        if not parse_only and (tenant.config.warehouse == "duckdb" or target == "local"):
            duckdb_file(tenant, places.state_dir, target).parent.mkdir(parents=True, exist_ok=True)
    if not parse_only:
        link_extensions(places.state_dir, tenant.config.services)
    kept = places.state_dir / "tenants" / name
    place = None if parse_only else tenant_place(tenant, values, places)
    for_dbt = environment.for_dbt(own, name, tenant.config.environment)
    for_commands = environment.for_commands(own, name, tenant.config.environment)
    if place:
        needed = settings_of(tenant.config.services)
        for_dbt = environment.for_container(for_dbt, own, name, tenant.config.environment)
        for_commands = environment.for_container(for_commands, own, name, tenant.config.environment, needed)
    if tenant.config.container and execution_of(tenant, values) == "docker":
        # dbt parses natively what a container builds, and starts anew there when it is told otherwise.
        for_dbt = {**tenant.config.container.environment, **for_dbt}
    return Workspace(
        tenant,
        values,
        profile,
        write_profile(profile),
        kept / ("parsed" if parse_only else "prepared") / values.target,
        kept / "runs",
        runner_in(place, environ) if place else None,
        for_dbt,
        for_commands,
    )


def tenant_place(tenant: Tenant, values: Values, places: Places) -> ContainerPlace | None:
    """Where a tenant's commands run, when that is a container; a DuckDB file is then seen inside where it is here.

    Raises:
        TenantError: a container is asked for, and `tenant.yaml` does not say which.
    """
    on_duckdb = values.target == "local" or tenant.config.warehouse == "duckdb"
    shared = duckdb_file(tenant, places.state_dir, values.target).parent.parent if on_duckdb else None
    # dbt's partial parse holds for the connection that it was made with, this folder's path included.
    extensions = {EXTENSIONS_VARIABLE: extension_folder(places.state_dir)}
    return container_place(tenant, values, places.state_dir, shared, extensions)
