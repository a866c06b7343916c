"""dbt's recorded lines become Dagster's events: an asset a node, a check a test, with what dbt knows of each.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_apollo.dbt.dagster_dbt_internals import build_dbt_specs
from dagster_apollo.dbt.stream import COMPILED_SQL_CHARACTERS, DbtEvents
from dagster_apollo.dbt.translation import TenantTranslator
from tests.support.recording import shop_lines, shop_slim

UNIT_TEST = "a_customer_without_orders_has_zero"


@dataclass
class Told:
    """What Dagster made of some lines."""

    materializations: dict[str, Mapping[str, Any]]
    checks: dict[str, dg.AssetCheckEvaluation]
    order: list[str]
    errors: list[str]


def told(lines: Iterable[str], target_path: Path) -> Told:
    """Read lines within a real step, as `dbt/assets.py` does."""
    kept = shop_slim()
    translator = TenantTranslator("acme", kept)
    specs, check_specs = build_dbt_specs(
        translator=translator, manifest=kept, select="fqn:*", exclude="", selector="", io_manager_key=None, project=None
    )
    events = DbtEvents(kept, translator, target_path)

    @dg.multi_asset(
        specs=[spec.replace_attributes(skippable=True) for spec in specs],
        check_specs=check_specs,
        can_subset=True,
        allow_arbitrary_check_specs=True,
    )
    def build(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from events.read(lines, context)

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([build], instance=instance, raise_on_error=False)
        seen = [
            event
            for event in result.all_events
            if event.event_type_value in ("ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION")
        ]
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    materialized = [event.step_materialization_data.materialization for event in seen if event.is_step_materialization]
    return Told(
        {"/".join(entry.asset_key.path): entry.metadata for entry in materialized},
        checks,
        [
            event.asset_key.path[-1] if event.is_step_materialization else event.asset_check_evaluation_data.check_name
            for event in seen
        ],
        events.errors,
    )  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Told:
    target_path = tmp_path_factory.mktemp("target")
    compiled = target_path / "compiled" / "shop" / "models"
    for path, sql in {
        "marts/customer_totals.sql": "\nselect 1 as total\n",
        "staging/stg_orders.sql": "x" * (COMPILED_SQL_CHARACTERS + 7),
    }.items():
        (compiled / path).parent.mkdir(parents=True, exist_ok=True)
        (compiled / path).write_text(sql)
    return told(shop_lines(), target_path)


# ---- Assets. ----


def test_what_dbt_built_is_materialized_and_nothing_else(recorded: Told) -> None:
    assert set(recorded.materializations) == {
        "acme/raw/customers",
        "acme/raw/orders",
        "acme/staging/stg_customers",
        "acme/staging/stg_orders",
        "acme/marts/customer_totals",
        "acme/marts/order_log",
        "acme/history/customers_history",
    }


def test_rows_that_dbt_counted_are_metadata_and_uncounted_ones_are_not(recorded: Told) -> None:
    assert recorded.materializations["acme/raw/customers"]["rows_affected"].value == 3
    assert recorded.materializations["acme/raw/orders"]["rows_affected"].value == 4
    assert "rows_affected" not in recorded.materializations["acme/staging/stg_customers"]  # DuckDB tells of seeds alone


def logged_by(unique_id: str, message: str) -> str:
    """A line of a project's own `log()`."""
    info = {"name": "JinjaLogDebug", "level": "debug", "msg": message}
    return json.dumps({"info": info, "data": {"msg": message, "node_info": {"unique_id": unique_id}}})


def test_rows_that_a_models_own_hook_counted_are_metadata_of_that_model(tmp_path: Path) -> None:
    counted = [
        logged_by("model.shop.order_log", "row_count: 7"),
        logged_by("model.shop.customer_totals", "row_count: many"),
    ]

    found = told([*counted, *shop_lines()], tmp_path).materializations

    assert found["acme/marts/order_log"]["dagster/row_count"].value == 7
    assert [key for key, metadata in found.items() if "dagster/row_count" in metadata] == ["acme/marts/order_log"]


@pytest.mark.parametrize("whole_log", [True, False])
def test_what_dbt_logs_for_debugging_is_printed_apart_where_all_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], whole_log: bool
) -> None:
    events = DbtEvents(shop_slim(), TenantTranslator("acme", shop_slim()), tmp_path, whole_log=whole_log)
    lines = [logged_by("model.shop.order_log", "On model.shop.order_log: BEGIN")]

    assert list(events.read(lines, None)) == []  # type: ignore[arg-type]  # nothing in it asks for the step

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == ("On model.shop.order_log: BEGIN\n" if whole_log else "")


def test_the_table_that_was_really_written_is_metadata(recorded: Told) -> None:
    assert recorded.materializations["acme/marts/order_log"]["relation"].value == '"shop"."marts"."order_log"'


def test_compiled_sql_is_metadata_and_cut_where_it_is_long(recorded: Told) -> None:
    assert recorded.materializations["acme/marts/customer_totals"]["compiled_sql"].value == (
        "```sql\nselect 1 as total\n```"
    )
    cut = recorded.materializations["acme/staging/stg_orders"]["compiled_sql"].value
    assert cut.endswith("x\n-- … 7 characters more\n```")
    assert "compiled_sql" not in recorded.materializations["acme/raw/customers"]


def test_how_long_a_node_took_is_metadata(recorded: Told) -> None:
    assert recorded.materializations["acme/marts/order_log"]["Execution Duration"].value > 0


# ---- Checks. ----


def test_every_test_that_ran_is_a_check_of_its_asset(recorded: Told) -> None:
    assert {name: (check.passed, "/".join(check.asset_key.path)) for name, check in recorded.checks.items()} == {
        "not_null_stg_customers_customer_id": (True, "acme/staging/stg_customers"),
        "unique_stg_customers_customer_id": (True, "acme/staging/stg_customers"),
        "relationships_stg_orders_customer_id__customer_id__ref_stg_customers_": (False, "acme/staging/stg_orders"),
        "unique_paid_orders_order_id": (True, "acme/staging/stg_orders"),
        "accepted_values_customer_totals_total__False__30": (False, "acme/marts/customer_totals"),
        "totals_add_up": (True, "acme/marts/customer_totals"),
        UNIT_TEST: (True, "acme/marts/customer_totals"),
    }


def test_a_warning_is_a_warning_and_a_failure_an_error(recorded: Told) -> None:
    warned = recorded.checks["relationships_stg_orders_customer_id__customer_id__ref_stg_customers_"]
    failed = recorded.checks["accepted_values_customer_totals_total__False__30"]

    assert (warned.severity, warned.metadata["dagster_dbt/failed_row_count"].value) == (dg.AssetCheckSeverity.WARN, 1)
    assert (failed.severity, failed.metadata["dagster_dbt/failed_row_count"].value) == (dg.AssetCheckSeverity.ERROR, 2)


def test_a_unit_test_that_fails_is_a_failed_check(tmp_path: Path) -> None:
    lines = [line.replace('"status": "pass"', '"status": "fail"') for line in shop_lines() if UNIT_TEST in line]

    checks = told([line.replace('"node_status": "pass"', '"node_status": "fail"') for line in lines], tmp_path).checks

    assert {name: check.passed for name, check in checks.items()} == {UNIT_TEST: False}


def test_events_come_in_the_order_in_which_dbt_finished(recorded: Told) -> None:
    finished = [
        json.loads(line)["data"]["node_info"]["unique_id"].split(".")
        for line in shop_lines()
        if json.loads(line)["info"]["name"] == "NodeFinished"
    ]
    dbts = [parts[-1] if parts[0] == "unit_test" else parts[2] for parts in finished]

    assert recorded.order == [name for name in dbts if name in recorded.order]


# ---- What else dbt prints. ----


def test_errors_are_remembered_in_dbts_words(recorded: Told) -> None:
    assert any("no_such_column" in error for error in recorded.errors)
    assert any("Got 2 results, configured to fail if != 0" in error for error in recorded.errors)
    assert not any("PASS" in error or "OK created" in error for error in recorded.errors)


def test_what_a_person_would_read_is_printed_and_debug_lines_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(shop_lines(), tmp_path)

    printed = capsys.readouterr().out
    assert "OK loaded seed file raw.customers" in printed
    assert "Finished running node" not in printed
    assert '"unique_id"' not in printed


def test_a_line_that_is_no_event_is_printed_and_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "Traceback (most recent call last):",
        '  File "x.py", line 1',
        "ImportError: no dbt",
        "",
        "[1, 2]",
        "7",
        "{}",
    ]

    assert told(lines, tmp_path).errors == ["ImportError: no dbt", "[1, 2]", "7", "{}"]
    assert "ImportError: no dbt" in capsys.readouterr().out


def test_a_result_whose_rows_never_came_is_still_an_event(tmp_path: Path) -> None:
    lines = [line for line in shop_lines() if json.loads(line)["info"]["name"] != "NodeFinished"]

    found = told(lines, tmp_path)

    assert len(found.materializations) == 7
    assert "rows_affected" not in found.materializations["acme/raw/customers"]


def test_nodes_that_the_manifest_does_not_know_are_passed_over(tmp_path: Path) -> None:
    lines = [line.replace("model.shop.order_log", "operation.shop.on-run-end-0") for line in shop_lines()]

    found = told(lines, tmp_path)

    assert "acme/marts/order_log" not in found.materializations
    assert len(found.materializations) == 6
