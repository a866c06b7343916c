"""One project, natively and in containers: the same tables, the same Dagster events, the same words in the log."""

from __future__ import annotations

import io
import re
import uuid
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from dagster_apollo.execution.docker_runner import RUN_LABEL
from tests.support.container_engine import ContainerEngine
from tests.support.tenant_folders import TenantFolders, failures
from tests.support.tenant_images import copy_tenant, image_of

NATIVELY = {"RIKSDAG__APOLLO_EXECUTION": "process"}
# What two invocations of the very same dbt differ in.
_OF_ONE_INVOCATION = {"Execution Duration", "invocation_id"}
_TABLES = "select table_schema, table_name from information_schema.tables order by all"
# Beside models that build: one that the warehouse refuses with one that follows it, and tests that fail and warn.
WRONG = {
    "models/marts/divided.sql": "select error('no such quotient') as x from {{ ref('stg_personlista') }}",
    "models/marts/after_divided.sql": "select * from {{ ref('divided') }}",
    "tests/nobody_sits_there.sql": "select * from {{ ref('members_by_constituency') }} where members < 3",
    "tests/warned_of.sql": "{{ config(severity='warn') }} select * from {{ ref('documents_by_organ') }} limit 3",
}


@dataclass
class Both:
    """A tenant built in both ways, each in a state folder of its own.

    Attributes:
        native, contained: the runs.
        tables: by way, each table's rows.
        printed: by way, the lines of dbt's log, without what a clock says.
    """

    native: dg.ExecuteInProcessResult
    contained: dg.ExecuteInProcessResult
    tables: dict[str, dict[str, list[tuple[Any, ...]]]]
    printed: dict[str, list[str]]


@pytest.fixture(scope="module", params=["well", "wrong"])
def both(
    request: pytest.FixtureRequest, container_engine: ContainerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Both:
    root = tmp_path_factory.mktemp(request.param)
    # One thread: the order of events is then dbt's alone.
    tenants = TenantFolders(root, DBT_THREADS="1", **container_engine.environ)
    image = f"apollo-test-{uuid.uuid4().hex[:8]}:1"
    copied = copy_tenant(tenants, "riksdag", image=image)
    if request.param == "wrong":
        for name, text in WRONG.items():
            (copied / name).write_text(text, encoding="utf-8")
    tables, printed, runs = {}, {}, {}
    with image_of(tenants, container_engine, "riksdag", image):
        for way, variables in {"native": NATIVELY, "contained": {}}.items():
            tenants.state_dir = root / way
            log = io.StringIO()
            with redirect_stdout(log):
                runs[way] = tenants.build("riksdag", **variables)
            printed[way] = [_without_clock(line) for line in log.getvalue().splitlines()]
            names = tenants.rows("riksdag", _TABLES)
            tables[way] = {
                f"{schema}.{name}": tenants.rows("riksdag", f'from "{schema}"."{name}" order by all')
                for schema, name in names
            }
    of_its_run = f"label={RUN_LABEL}={runs['contained'].run_id}"
    assert container_engine.docker("ps", "--all", "--quiet", "--filter", of_its_run) == ""
    return Both(runs["native"], runs["contained"], tables, printed)


def _without_clock(line: str) -> str:
    """Without seconds, and without the folder that an invocation has to itself."""
    line = re.sub(r" at \S*/compiled/", " at …/compiled/", line)
    return re.sub(r"\d+\.\d+s?|\d+ hours \d+ minutes|\d\d:\d\d:\d\d", "…", line)


def told(run: dg.ExecuteInProcessResult) -> list[tuple[object, ...]]:
    """All events of a run, with what a person sees of them."""
    return [
        (
            event.event_type_value,
            event.step_key,
            str(event.asset_key or ""),
            _materialized(event) if event.is_step_materialization else _checked(event) if _is_check(event) else None,
        )
        for event in run.all_events
    ]


def _is_check(event: dg.DagsterEvent) -> bool:
    return event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION


def _checked(event: dg.DagsterEvent) -> tuple[object, ...]:
    check = event.asset_check_evaluation_data
    metadata = _values(check.metadata)
    return str(check.asset_check_key), check.passed, check.severity, check.blocking, check.description, metadata


def _materialized(event: dg.DagsterEvent) -> tuple[object, ...]:
    materialization = event.step_materialization_data.materialization
    return materialization.description, materialization.tags, _values(materialization.metadata)


def _values(metadata: Any) -> dict[str, object]:
    return {name: value.value for name, value in metadata.items() if name not in _OF_ONE_INVOCATION}


def test_the_tables_are_equal(both: Both) -> None:
    assert both.tables["contained"] == both.tables["native"]
    assert len(both.tables["native"]["raw.personlista"]) == 349
    assert sum(row[2] for row in both.tables["contained"]["marts.documents_by_organ"]) == 600


def test_the_events_are_equal(both: Both) -> None:
    assert told(both.contained) == told(both.native)
    assert both.native.success == both.contained.success
    assert "compiled_sql" in str(told(both.contained))


def test_the_log_is_equal(both: Both) -> None:
    assert both.printed["contained"] == both.printed["native"]
    assert any("START sql view model staging.stg_personlista" in line for line in both.printed["contained"])


def test_failures_say_the_same(both: Both) -> None:
    assert failures(both.contained) == failures(both.native)
    assert ("no such quotient" in failures(both.contained)) == (not both.native.success)
