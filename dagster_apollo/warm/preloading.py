"""What no tenant has of its own, loaded and used once: for the process that all tenants are forked from.

Imports, the first use of what libraries set up lazily, the macros that come with dbt and its adapters. No tenant's
file, setting or connection; afterwards the process has one thread and no child.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

import importlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import dagster as dg
import yaml

from dagster_apollo.warm.dbt_internals import compile_macros, parse, set_up
from dagster_apollo.warm.forking import end_default_database, require_forkable

# What each adapter wants to be told before it parses a project that is never built.
_NOWHERE = {
    "duckdb": {"type": "duckdb", "path": ":memory:"},
    "postgres": {
        "type": "postgres",
        "host": "localhost",
        "port": 5432,
        "user": "nobody",
        "password": "",
        "dbname": "nowhere",
        "schema": "nowhere",
    },
    "snowflake": {
        "type": "snowflake",
        "account": "nowhere",
        "user": "nobody",
        "authenticator": "externalbrowser",
        "database": "nowhere",
        "schema": "nowhere",
    },
}
# What a run imports when it comes to it.
_USED_BY_RUNS = (
    "dagster._core.execution.plan.execute_step",
    "dagster_postgres",
    "dbt.task.build",
    "dbt.task.freshness",
    "dbt.task.seed",
    "dagster_apollo.definitions",
    "dagster_apollo.shares",
)


def preload(adapters: Iterable[str]) -> None:
    """Have at hand what every tenant's processes use.

    Args:
        adapters: of dbt, by its own names of them; those that are not known here are imported by who uses them.

    Raises:
        HostError: something has started a thread.
    """
    for module in _USED_BY_RUNS:
        importlib.import_module(module)
    _execute_something()
    set_up()
    for adapter in sorted(set(adapters) & _NOWHERE.keys()):
        _compile_macros_of(adapter)
    end_default_database()
    require_forkable()


def _compile_macros_of(adapter: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        profile = {"target": "nowhere", "outputs": {"nowhere": _NOWHERE[adapter]}}
        (project / "profiles.yml").write_text(yaml.safe_dump({"nobody": profile}), encoding="utf-8")
        (project / "dbt_project.yml").write_text("name: nothing\nprofile: nobody\n", encoding="utf-8")
        environment = {
            "DBT_PROFILES_DIR": folder,
            "DBT_PROJECT_DIR": folder,
            "DBT_TARGET_PATH": str(project / "target"),
            "DBT_LOG_PATH": str(project / "target"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        manifest, _ = parse(environment, project)
        if manifest:
            compile_macros(manifest)


def _execute_something() -> None:
    """A run of two assets and a check in memory: Dagster sets up a good part of itself when it first executes."""

    @dg.multi_asset(
        specs=[dg.AssetSpec("first"), dg.AssetSpec("second", deps=["first"])],
        check_specs=[dg.AssetCheckSpec("checked", asset="first")],
    )
    def something(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        context.log.info("nothing is built")
        yield dg.MaterializeResult(asset_key="first", metadata={"rows": 1, "seconds": 0.5, "name": "x"})
        yield dg.AssetCheckResult(passed=True, check_name="checked", asset_key="first")
        yield dg.MaterializeResult(asset_key="second")

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([something], instance=instance, run_config=quiet)
