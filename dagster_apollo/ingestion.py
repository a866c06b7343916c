"""Where a tenant's dlt pipelines load, and how one runs as a Dagster asset: `ingestion` of `tenant.yaml`.

What is loaded, and when, is the tenant's own Python. A destination is made of the tenant's validated settings alone;
what else dlt would look for, a `.dlt` folder or variables of its own, has no part in it.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

import fcntl
import importlib.util
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import dlt
from dagster_dlt import DagsterDltResource, DagsterDltTranslator
from dlt.common.destination import Destination
from dlt.destinations.impl.databricks.configuration import DatabricksCredentials
from dlt.destinations.impl.snowflake.configuration import SnowflakeCredentials
from dlt.pipeline import trace

from dagster_apollo.dbt.translation import one_line
from dagster_apollo.dbt.workspace import Places, read_tenant, repository_root
from dagster_apollo.errors import Problem, ProblemsError, SettingsError, TenantError
from dagster_apollo.settings import BY_NAME, Values
from dagster_apollo.tenant import TENANT_FILE, Tenant
from dagster_apollo.warehouse.duckdb import duckdb_file
from dagster_apollo.warehouse.profiles import snowflake_key

Result = TypeVar("Result")
_DATABRICKS = ("DATABRICKS_SERVER_HOSTNAME", "DATABRICKS_HTTP_PATH", "DATABRICKS_CATALOG", "DATABRICKS_TOKEN")
# DuckDB gives a file to one process at a time. Runs of a tenant follow each other (its pool), but a person's
# `apollo dbt`, or a dbt Cloud that builds on the same file, is no run.
_LOCKED = "Could not set lock on file"
_LOCK_WAIT_SECONDS = 60.0
_LOCK_POLL_SECONDS = 0.5


@dataclass
class TenantDltTranslator(DagsterDltTranslator):
    """Names what a source loads as assets of a tenant: `[tenant, dlt_<source>_<resource>]`.

    Attributes:
        tenant: the tenant's id.
        group: the assets' group.
        freshness_policy: how old what was loaded may be; None: as old as it is.
    """

    tenant: str
    group: str
    freshness_policy: dg.FreshnessPolicy | None = None

    def get_asset_spec(self, data: Any) -> dg.AssetSpec:
        """dagster-dlt's, without the external asset that it makes up for what is read."""
        spec = super().get_asset_spec(data)
        return spec.replace_attributes(
            key=spec.key.with_prefix(self.tenant),
            deps=[],
            group_name=self.group,
            freshness_policy=self.freshness_policy,
        )


@dataclass(frozen=True)
class Ingestion:
    """A tenant's way from a source to its warehouse.

    Attributes:
        tenant: the tenant's id; also the pool in which nothing else of the tenant runs at the same time.
        destination: where its pipelines load.
        pipelines_dir: where dlt keeps what it is working on.
    """

    tenant: str
    destination: Destination[Any, Any] = field(repr=False)
    pipelines_dir: Path

    @classmethod
    def of_tenant(cls, folder: Path, environ: Mapping[str, str]) -> "Ingestion":
        """What the `tenant.yaml` of a folder says, with the tenant's settings.

        Args:
            folder: the tenant's, `Path(__file__).parent` in its `definitions.py`.
            environ: the variables of the tenant's process, `os.environ` there.

        Raises:
            TenantError: the folder cannot be served, or says nothing of ingestion.
            SettingsError: with everything that keeps the destination from being reached.
        """
        places = replace(Places.find(environ, repository_root()), tenants_dir=folder.parent)
        tenant, values = read_tenant(environ, places, folder.name)
        destination = _destination(tenant, values, places.state_dir)
        return cls(tenant.name, destination, places.state_dir / "tenants" / tenant.name / "dlt")

    def pipeline(self, name: str, dataset: str) -> dlt.Pipeline:
        """A pipeline into this destination.

        Args:
            name: its name; its working folder is called so too.
            dataset: the schema that it loads into.
        """
        # Also with its telemetry off, dlt would keep a number of this machine in the home folder, for its reports.
        trace.TRACKING_MODULES = []
        self.pipelines_dir.mkdir(parents=True, exist_ok=True)
        with (self.pipelines_dir / f"{name}.lock").open("w") as handle:
            # dlt wipes a folder without a state: that of another location of the tenant, which is just making it.
            fcntl.flock(handle, fcntl.LOCK_EX)
            return dlt.pipeline(
                name, destination=self.destination, dataset_name=dataset, pipelines_dir=str(self.pipelines_dir)
            )

    def translator(self, group: str, freshness_policy: dg.FreshnessPolicy | None = None) -> TenantDltTranslator:
        """For `@dlt_assets`: names, group and freshness of what is loaded."""
        return TenantDltTranslator(self.tenant, group, freshness_policy)

    def run(self, context: dg.AssetExecutionContext, resource: DagsterDltResource) -> Iterator[Any]:
        """Load what Dagster selected; while somebody else writes the DuckDB file, wait for a minute.

        Raises:
            dagster.Failure: with what the source or the destination said.
        """
        # dlt loads before the first result is yielded: a second try has nothing to take back.
        yield from _while_locked(context, lambda: list(resource.run(context=context)))

    def query(self, context: dg.AssetExecutionContext, pipeline: dlt.Pipeline, sql: str) -> Sequence[Sequence[Any]]:
        """The rows that a statement gives in the pipeline's destination; waits as `run` does.

        Raises:
            dagster.Failure: with what the destination said.
        """

        def rows() -> Sequence[Sequence[Any]]:
            with pipeline.sql_client() as client:
                return client.execute_sql(sql) or []

        return _while_locked(context, rows)


def _while_locked(context: dg.AssetExecutionContext, act: Callable[[], Result]) -> Result:
    end = time.monotonic() + _LOCK_WAIT_SECONDS
    told = False
    while True:
        try:
            return act()
        except Exception as error:
            if _LOCKED not in str(error) or time.monotonic() > end:
                raise dg.Failure(_told(error)) from None
            if not told:
                context.log.info(f"waiting for the database file: {one_line(_cause(error))}")
                told = True
            time.sleep(_LOCK_POLL_SECONDS)


def _destination(tenant: Tenant, values: Values, state_dir: Path) -> Destination[Any, Any]:
    ingestion = tenant.config.ingestion
    where = f"tenants/{tenant.name}/{TENANT_FILE}: ingestion"
    if ingestion is None:
        remedy = "Say where dlt loads: `ingestion: {destination: duckdb}`."
        raise TenantError([Problem(where, "is not there", remedy)], f"the tenant {tenant.name} cannot be served")
    # As the models: `local` needs no account anywhere. dbt Cloud alone builds elsewhere, and reads what is there.
    local = values.target == "local" and tenant.config.warehouse != "dbt_cloud"
    match "duckdb" if local else ingestion.destination:
        case "snowflake":
            return _snowflake(tenant, values)
        case "databricks":
            return _databricks(tenant, values, where)
        case _:
            file = duckdb_file(tenant, state_dir, values.target)
            file.parent.mkdir(parents=True, exist_ok=True)
            return dlt.destinations.duckdb(str(file))


def _snowflake(tenant: Tenant, values: Values) -> Destination[Any, Any]:
    key, problems = snowflake_key(tenant, values)
    if problems or key is None:
        raise SettingsError(problems, f"the Snowflake settings of {tenant.name} are not right")
    credentials = SnowflakeCredentials()  # an object: a destination's repr shows a mapping's values
    credentials.host = str(values["SNOWFLAKE_ACCOUNT"])
    credentials.username = values.text("SNOWFLAKE_USER")
    credentials.role = values.text("SNOWFLAKE_ROLE")
    credentials.warehouse = values.text("SNOWFLAKE_WAREHOUSE")
    credentials.database = str(values["SNOWFLAKE_DATABASE"])
    credentials.private_key = key.der_base64()
    elsewhere = {name: values[f"SNOWFLAKE_{name.upper()}"] for name in ("host", "port", "protocol")}
    credentials.query = {name: value for name, value in elsewhere.items() if value is not None}
    return dlt.destinations.snowflake(credentials=credentials)


def _databricks(tenant: Tenant, values: Values, where: str) -> Destination[Any, Any]:
    problems = [
        Problem(values.source(name, tenant.name), "is not set", f"{BY_NAME[name].help} Set it, or {name} for all.")
        for name in _DATABRICKS
        if not values[name]
    ]
    forms = {
        "DATABRICKS_SERVER_HOSTNAME": (r"[A-Za-z0-9.-]+", "is not a host's name", "Give it without `https://`."),
        "DATABRICKS_HTTP_PATH": (r"/?sql/\S+", "is not the path of a SQL warehouse", "Copy it from its page."),
    }
    for name, (form, what, remedy) in forms.items():
        text = values.text(name)
        if text and not re.fullmatch(form, text):
            problems.append(Problem(values.source(name, tenant.name), f"{text!r} {what}", remedy))
    if importlib.util.find_spec("databricks") is None or importlib.util.find_spec("databricks.sql") is None:
        remedy = 'Add `"dlt[databricks]"` to the dependencies in pyproject.toml and lock again: `make lock`.'
        problems.append(Problem(f"{where}.destination", "Databricks' client is not installed", remedy))
    if problems:
        raise SettingsError(problems, f"the Databricks settings of {tenant.name} are not right")
    credentials = DatabricksCredentials()
    credentials.server_hostname = values.text("DATABRICKS_SERVER_HOSTNAME")
    credentials.http_path = values.text("DATABRICKS_HTTP_PATH")
    credentials.catalog = str(values["DATABRICKS_CATALOG"])
    credentials.access_token = values.text("DATABRICKS_TOKEN")
    return dlt.destinations.databricks(credentials=credentials)


def _told(error: BaseException) -> str:
    """What went wrong, without the frames that dlt builds around it."""
    cause = _cause(error)
    if isinstance(cause, ProblemsError):
        return "\n".join(str(problem) for problem in cause.problems)
    return one_line(cause)


def _cause(error: BaseException) -> BaseException:
    """The first thing that went wrong; what somebody has told in our own words is that."""
    while not isinstance(error, ProblemsError):
        inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if inner is None:
            break
        error = inner
    return error
