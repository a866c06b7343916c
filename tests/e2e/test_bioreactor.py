"""`bioreactor` on its real parts: DuckDB and a Postgres in one run, by layer, by day, from page and command line."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psycopg2
import pytest
import yaml
from playwright.sync_api import Page, expect

from tests.support.browser import PAGE_TIMEOUT_SECONDS
from tests.support.notified import Notified, being_notified
from tests.support.postgres import Postgres
from tests.support.stack import REPOSITORY, Stack, StartStack, bare_environment, run_to_its_end
from tests.support.webserver import FINAL, RUN_TIMEOUT_SECONDS, wait_until

pytestmark = pytest.mark.slow

TENANT = "bioreactor"
MATERIALIZE = (str(Path(sys.executable).parent / "apollo"), "materialize")
FIRST_DAY, LAST_DAY, DAYS = "2026-05-01", "2026-06-09", 40
STAGING = {"stg_batches", "stg_bioreactor", "stg_samples"}
CURATED = {"cur_batches", "cur_excursions", "cur_sensor_days"}
MARTS = {"mart_batches", "mart_products", "mart_vessel_days"}
DAILY = {"cur_sensor_days", "mart_vessel_days"}
BIOREACTOR_AND_DOWNSTREAM = {"stg_bioreactor", "cur_excursions", "mart_batches", "mart_products", *DAILY}
# Of DuckDB, through dbt, where a model names a column that is not there.
DBTS_WORDS = 'does not have a column named "prodct"'
_LOG = """
query Log($run: ID!) {
  runOrError(runId: $run) { ... on Run { eventConnection { events { __typename
    ... on LogsCapturedEvent { fileKey } } } } }
}"""
_CAPTURED = "query Captured($key: [String!]!) { capturedLogs(logKey: $key) { stdout stderr } }"


# A second tenant, of which each day of a backfill is a run of its own.
ONE_A_DAY = {
    "dbt_project.yml": "name: one_a_day\nprofile: one_a_day\n",
    "tenant.yaml": "warehouse: duckdb\npartitions: {start: 2026-05-01, end: 2026-06-10, backfill: run_each}\n",
    "models/days.sql": """
{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='day') }}
select date '{{ var("partition_date") }}' as day
""",
}
_BACKFILL_RUNS = """
query Runs($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
  status runs(limit: 100) { id status tags { key value } } } } }"""
_CANCEL = "mutation Cancel($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }"
_TERMINATE = """
mutation Terminate($ids: [String!]!) {
  terminateRuns(runIds: $ids, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename }
}"""


@pytest.fixture(scope="module")
def told() -> Iterator[Notified]:
    """Who is told of failures."""
    with being_notified() as notified:
        yield notified


@pytest.fixture(scope="module")
def stack(module_folder: Path, postgres: Postgres, told: Notified, start_shared_stack: StartStack) -> Stack:
    """`apollo dev` with a copy of this tenant, and nothing built."""
    tenants = module_folder / "tenants"
    shutil.copytree(REPOSITORY / "tenants" / TENANT, tenants / TENANT)
    for name, text in ONE_A_DAY.items():
        file = tenants / "one_a_day" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    environ = bare_environment(
        module_folder,
        APOLLO_TENANTS_DIR=str(tenants),
        APOLLO_NOTIFY_SECONDS="1",
        BIOREACTOR__POSTGRES_URL=postgres.url(),
        BIOREACTOR__FAILURES_URL=told.url,
    )
    command = (str(Path(sys.executable).parent / "apollo"), "dev", "--no-build")
    return start_shared_stack(environ, command=command).wait_until_ready()


def materialize(stack: Stack, *words: str, tenant: str = TENANT) -> tuple[int, str]:
    """What a person types beside `apollo dev`, to its end."""
    return run_to_its_end((*MATERIALIZE, tenant, *words), stack.environ)


def newest_run(stack: Stack) -> str:
    return str(stack.webserver.runs()[0]["runId"])


def names(keys: set[str]) -> set[str]:
    return {key.rpartition("/")[2] for key in keys}


def in_tenant(stack: Stack, path: str) -> Path:
    """A file of the tenant that is served."""
    return Path(stack.environ["APOLLO_TENANTS_DIR"]) / TENANT / path


# ---- All of it, in one run. ----


def test_all_layers_are_built_by_one_run_and_the_marts_stand_in_postgres(stack: Stack, postgres: Postgres) -> None:
    code, said = materialize(stack, "--days", "all")

    assert code == 0, said
    assert len(stack.webserver.runs()) == 1
    assert names(stack.webserver.built(newest_run(stack))) >= STAGING | CURATED | MARTS
    written = postgres.rows("select table_name from information_schema.tables where table_schema = 'mart' order by 1")
    assert [name for (name,) in written] == sorted(MARTS)
    assert postgres.rows("select count(*), count(distinct batch_id) from mart.mart_batches") == [(9, 9)]
    assert postgres.rows("select count(distinct reading_date) from mart.mart_vessel_days") == [(DAYS,)]


def test_layers_are_groups_and_what_is_deprecated_is_not_there(stack: Stack) -> None:
    groups = {name.rpartition("/")[2]: node["groupName"] for name, node in stack.webserver.assets(TENANT).items()}

    assert {groups[name] for name in STAGING} == {"dbt_staging"}
    assert {groups[name] for name in CURATED} == {"dbt_curated"}
    assert {groups[name] for name in MARTS} == {"dbt_marts"}
    assert "stg_bioreactor_wide" not in groups
    assert (REPOSITORY / "tenants" / TENANT / "models/stg/stg_bioreactor_wide.sql").exists()


def test_every_test_of_dbts_is_a_check_that_passed(stack: Stack) -> None:
    outcomes = {
        f"{key}:{check['name']}": (check["executionForLatestMaterialization"] or {}).get("status")
        for key, node in stack.webserver.assets(TENANT).items()
        for check in node["assetChecksOrError"].get("checks", [])
    }

    assert len(outcomes) > 20
    assert any("readings_that_follow_each_other" in name for name in outcomes), "unit tests too"
    assert {name: status for name, status in outcomes.items() if status != "SUCCEEDED"} == {}


def test_a_materialization_tells_rows_and_seconds(stack: Stack) -> None:
    [built] = stack.webserver.assets(TENANT)[f"{TENANT}/mart/mart_batches"]["assetMaterializations"]
    metadata = {entry["label"]: entry for entry in built["metadataEntries"]}

    assert metadata["dagster/row_count"]["intValue"] == 9
    assert metadata["Execution Duration"]["floatValue"] > 0
    assert metadata["relation"]["text"] == '"postgres"."mart"."mart_batches"'


def test_the_output_of_a_run_holds_the_whole_log_of_dbt_and_no_password(stack: Stack, postgres: Postgres) -> None:
    events = stack.webserver.ask(_LOG, run=newest_run(stack))["runOrError"]["eventConnection"]["events"]
    [key] = [event["fileKey"] for event in events if event.get("fileKey")]
    log = stack.webserver.ask(_CAPTURED, key=[newest_run(stack), "compute_logs", key])["capturedLogs"]

    assert "Completed successfully" in log["stdout"]
    assert "OK created sql table model postgres.mart.mart_batches" in log["stdout"]
    assert 'create  table\n      "postgres"."mart"."mart_batches' in log["stderr"].replace(
        "create table", "create  table"
    )
    assert postgres.password not in log["stdout"] + log["stderr"]


# ---- A layer, alone or with what is built from it. ----


def test_a_layer_alone_is_built_by_its_tag(stack: Stack) -> None:
    code, said = materialize(stack, "--select", "tag:stg")

    assert code == 0, said
    assert names(stack.webserver.built(newest_run(stack))) == STAGING


def test_a_model_with_all_that_is_built_from_it_asks_for_a_day(stack: Stack, postgres: Postgres) -> None:
    refused, why = materialize(stack, "--select", "stg_bioreactor+")
    other_days = "select * from mart.mart_vessel_days where reading_date <> '2026-05-12' order by 1, 2"
    before = postgres.rows(other_days)
    code, said = materialize(stack, "--select", "stg_bioreactor+", "--days", "2026-05-12")

    assert refused == 1
    assert "partitioned by day" in why
    assert f"--days {FIRST_DAY}:{LAST_DAY}" in why
    assert code == 0, said
    built = names(stack.webserver.built(newest_run(stack)))
    assert built == BIOREACTOR_AND_DOWNSTREAM
    assert (
        postgres.rows("select * from mart.mart_vessel_days where reading_date <> '2026-05-12' order by 1, 2") == before
    )


def test_a_layer_and_a_model_with_all_that_is_built_from_it_are_chosen_and_built_in_the_page(
    stack: Stack, page: Page, tmp_path: Path
) -> None:
    try:
        page.goto(f"{stack.address}/asset-groups")
        expect(page.get_by_text("dbt_marts", exact=True).first).to_be_visible(timeout=PAGE_TIMEOUT_SECONDS * 1000)
        choose(page, 'tag:"stg"')
        expect(page.get_by_text("dbt_marts", exact=True)).to_have_count(0, timeout=PAGE_TIMEOUT_SECONDS * 1000)
        expect(page.get_by_text("stg_samples", exact=True).first).to_be_visible()
        assert built_by(stack, page, "Materialize all") == STAGING

        choose(page, 'key:"*/stg_bioreactor"+')
        expect(page.get_by_text("stg_samples", exact=True)).to_have_count(0, timeout=PAGE_TIMEOUT_SECONDS * 1000)
        page.get_by_role("button", name="Materialize all").click()
        page.get_by_placeholder(FIRST_DAY).fill("2026-05-12")
        page.keyboard.press("Enter")
        assert built_by(stack, page, "Launch 1 run") == BIOREACTOR_AND_DOWNSTREAM
    finally:
        page.screenshot(path=tmp_path / "selection.png")


def choose(page: Page, selection: str) -> None:
    """Type a selection of assets in the place of what is there."""
    page.locator(".CodeMirror").first.click()
    page.keyboard.press("Control+A")
    page.keyboard.type(selection)
    page.keyboard.press("Enter")


def built_by(stack: Stack, page: Page, button: str) -> set[str]:
    """What the run that a button launches has built."""
    before = len(stack.webserver.runs())
    page.get_by_role("button", name=button).click()
    wait_until(lambda: len(stack.webserver.runs()) > before, "the page has launched a run")
    stack.webserver.finish(newest_run(stack))
    return names(stack.webserver.built(newest_run(stack)))


# ---- Batch by batch. ----


def test_a_batch_that_has_ended_stays_as_it_was_built_and_one_that_runs_does_not(stack: Stack) -> None:
    ended, running = 1001, 1007
    before = peaks(stack)
    seed = in_tenant(stack, "seeds/raw_samples.csv")
    sound = seed.read_text()
    seed.write_text(re.sub(rf"^(\d+,(?:{ended}|{running}),[^,]+),[\d.]+,", r"\1,99.0,", sound, flags=re.MULTILINE))
    try:
        code, said = materialize(stack, "--select", "raw_samples stg_samples cur_batches")
    finally:
        seed.write_text(sound)

    assert code == 0, said
    assert peaks(stack) == {**before, running: 99.0}
    assert before[ended] < 99.0


def peaks(stack: Stack) -> dict[int, float]:
    """The most cells that a sample of each batch had, as `cur_batches` has it."""
    file = Path(stack.environ["APOLLO_STATE_DIR"]) / "warehouse" / "local" / f"{TENANT}.duckdb"
    with duckdb.connect(str(file), read_only=True) as connection:
        [[schema]] = connection.execute(
            "select table_schema from information_schema.tables where table_name = 'cur_batches'"
        ).fetchall()
        rows = connection.execute(f"select batch_id, peak_viable_cells_e6_per_ml from {schema}.cur_batches").fetchall()
    return {int(batch): float(peak) for batch, peak in rows}


# ---- Days. ----


def test_thirty_days_are_one_run(stack: Stack, postgres: Postgres) -> None:
    before = len(stack.webserver.runs())
    code, said = materialize(stack, "--select", "tag:daily", "--days", "2026-05-02:2026-05-31")

    assert code == 0, said
    assert len(stack.webserver.runs()) == before + 1
    materialized = [
        event for event in stack.webserver.events(newest_run(stack)) if event["__typename"] == "MaterializationEvent"
    ]
    assert len(materialized) == 30 * len(DAILY)
    assert postgres.rows("select count(distinct reading_date) from mart.mart_vessel_days") == [(DAYS,)]


@pytest.mark.parametrize(
    ("waited_for", "timeout_seconds"),
    [(2, RUN_TIMEOUT_SECONDS), pytest.param(30, 3000.0, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])],
)
def test_thirty_days_are_thirty_runs_where_the_field_says_so(
    stack: Stack, waited_for: int, timeout_seconds: float
) -> None:
    code, said = materialize(stack, "--days", "2026-05-02:2026-05-31", "--no-wait", tenant="one_a_day")
    assert code == 0, said
    backfill = said.rpartition("/runs/b/")[2].strip()

    def runs() -> dict[str, str]:
        """The status of each run, by its day."""
        found = stack.webserver.ask(_BACKFILL_RUNS, id=backfill)["partitionBackfillOrError"]["runs"]
        given = [(run["status"], {tag["key"]: tag["value"] for tag in run["tags"]}) for run in found]
        for _, tags in given:
            assert tags["dagster/asset_partition_range_start"] == tags["dagster/asset_partition_range_end"]
        return {tags["dagster/asset_partition_range_start"]: status for status, tags in given}

    wait_until(lambda: len(runs()) == 30, "the backfill has asked for thirty runs")
    wait_until(
        lambda: list(runs().values()).count("SUCCESS") >= waited_for,
        f"{waited_for} of them have ended well",
        timeout_seconds,
    )
    assert sorted(runs()) == [f"2026-05-{day:02}" for day in range(2, 32)]
    stack.webserver.ask(_CANCEL, id=backfill)
    unfinished = [run["runId"] for run in stack.webserver.runs() if run["status"] not in FINAL]
    if unfinished:  # Dagster fails when it is asked for none
        stack.webserver.ask(_TERMINATE, ids=unfinished)


# ---- What its users break. ----


def test_a_model_that_is_broken_is_named_with_dbts_own_words_and_what_was_skipped_for_it(
    stack: Stack, told: Notified
) -> None:
    told.messages.clear()
    model = in_tenant(stack, "models/mart/mart_batches.sql")
    sound = model.read_text()
    model.write_text(sound.replace("batches.product,", "batches.prodct,"))
    try:
        code, said = materialize(stack, "--select", "mart_batches+")
    finally:
        model.write_text(sound)

    assert code == 1
    assert "model mart_batches: Runtime Error" in said
    assert DBTS_WORDS in said
    assert "mart_products" in said
    assert ": skipped, because of the above" in said
    assert_tried_again_after_the_wait(stack, newest_run(stack))
    assert_told_once(stack, told, newest_run(stack))


def assert_tried_again_after_the_wait(stack: Stack, run_id: str) -> None:
    """By the times of the run's events: what follows the announcement is at least so much later."""
    retries = yaml.safe_load(in_tenant(stack, "tenant.yaml").read_text())["retries"]
    events = [event for event in stack.webserver.events(run_id) if "timestamp" in event]
    [announced] = [number for number, event in enumerate(events) if "dbt is started again" in event["message"]]
    assert f"in {retries['delay_seconds']} s, attempt 2 of {retries['max_retries'] + 1}" in events[announced]["message"]
    assert DBTS_WORDS in events[announced]["message"]
    told_at, followed_at = (int(event["timestamp"]) for event in events[announced : announced + 2])
    assert followed_at - told_at >= retries["delay_seconds"] * 1000 > 0


def assert_told_once(stack: Stack, told: Notified, run_id: str) -> None:
    """The receiver is told, and not again by the looks after that."""
    wait_until(lambda: told.messages, "the receiver is told")
    arrived = time.time()
    sensor = f"{TENANT}__tell_failures_url"
    wait_until(lambda: stack.webserver.looks(TENANT, sensor)[1]["timestamp"] > arrived, "it was looked twice since")
    [(title, text, kind)] = told.messages
    assert (title, kind) == (f"{TENANT}: the run of assets failed", "failure")
    assert text.count(DBTS_WORDS) == 1
    assert run_id in text


def test_readings_that_no_sensor_gives_fail_the_check_and_keep_them_from_the_marts(stack: Stack) -> None:
    seed = in_tenant(stack, "seeds/raw_set_points.csv")
    sound = seed.read_text()
    seed.write_text(f"{sound}foam_pct,1.0,0.5\n".replace("temperature_c,", "temperature_f,"))
    readings = seed.with_name("raw_readings.csv")
    measured = readings.read_text()
    readings.write_text(measured.replace(",temperature_c,", ",temperature_f,"))
    try:
        code, said = materialize(stack, "--select", "raw_set_points raw_readings stg_bioreactor")
    finally:
        seed.write_text(sound)
        readings.write_text(measured)

    assert code == 1
    assert "accepted_values_stg_bioreactor_sensor" in said
    assert "Got 1 result, configured to fail if != 0" in said


def test_a_password_that_was_changed_is_told_with_the_servers_words_and_never_shown(
    stack: Stack, postgres: Postgres
) -> None:
    change_password(postgres, postgres.password, "another")
    try:
        code, said = materialize(stack, "--select", "mart_products")
    finally:
        change_password(postgres, "another", postgres.password)

    assert code == 1
    assert 'password authentication failed for user "dagster"' in said
    assert postgres.password not in said
    assert materialize(stack, "--select", "mart_products")[0] == 0


def change_password(postgres: Postgres, current: str, new: str) -> None:
    connection = psycopg2.connect(postgres.url(current), connect_timeout=10)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"alter role {postgres.user} password %s", (new,))
    finally:
        connection.close()
