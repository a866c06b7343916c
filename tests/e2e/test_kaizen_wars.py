"""kaizen_wars on real processes: what dlt loads comes through dbt Cloud to the count with nobody touching anything."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pytest
import yaml

from tests.support.dbt_cloud import NUMBERS, DbtCloud, running_dbt_cloud
from tests.support.stack import COMMAND, REPOSITORY, Stack, StartStack, bare_environment
from tests.support.webserver import FINAL, Webserver, wait_until

TENANT = "kaizen_wars"
LOADED = f"{TENANT}/dlt_kaizen_wars_fact_virtual"
STAGED = f"{TENANT}/staging/stg_kaizen_wars__fact_virtual"
MARTS = {f"{TENANT}/marts/dojo_standings", f"{TENANT}/marts/practice_by_day"}
COUNT = f"{TENANT}/fact_virtual_count_asset"
COMMITTED_ROWS = 120
FOLLOWED_SECONDS = 400.0

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Kaizen:
    """The running tenant, with its intervals made short.

    Attributes:
        csv: what it loads, every minute where its schedule runs: cron knows no shorter time.
        database: the DuckDB file that dlt loads into and dbt Cloud builds in.
        counting: the code location that counts.
    """

    stack: Stack
    cloud: DbtCloud
    csv: Path
    database: Path
    counting: str = TENANT

    def add_row(self, number: int) -> None:
        """Add a bout to the CSV."""
        with self.csv.open("a") as file:
            file.write(f"{number},2026-06-01T08:00:00Z,Kita,seiri,won,30\n")

    def counted(self) -> int | None:
        """What the count asset counted last."""
        [latest] = self.stack.webserver.assets(self.counting)[COUNT]["assetMaterializations"] or [
            {"metadataEntries": []}
        ]
        entries = {entry["label"]: entry.get("intValue") for entry in latest["metadataEntries"]}
        return entries.get("dagster/row_count")

    def comes_to_count(self, rows: int) -> None:
        """Wait until it did."""
        wait_until(lambda: self.counted() == rows, f"{rows} rows are counted", FOLLOWED_SECONDS)

    def followed(self) -> list[set[str]]:
        """What each run built that an automation condition asked for, the smallest first."""
        webserver = self.stack.webserver
        wait_until(lambda: all(run["status"] in FINAL for run in webserver.runs()), "every run has ended")
        asked_for = [run for run in webserver.runs() if run["tags"].get("dagster/from_automation_condition") == "true"]
        return sorted((webserver.built(run["runId"]) for run in asked_for), key=len)


def tenant_folder(tenants_dir: Path, name: str = TENANT, **fields: object) -> Path:
    """A copy of the tenant's folder, with other values in its `tenant.yaml`."""
    copy = tenants_dir / name
    shutil.copytree(REPOSITORY / "tenants" / TENANT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    said = yaml.safe_load((copy / "tenant.yaml").read_text())
    assert (said["warehouse"], said["ingestion"], said["automation"]) == (
        "dbt_cloud",
        {"destination": "duckdb"},
        "any_deps_updated",
    )
    say(copy, dbt_cloud=yaml.safe_load(NUMBERS), **fields)
    return copy


def say(folder: Path, **fields: object) -> None:
    """Give fields of a `tenant.yaml` other values."""
    said = yaml.safe_load((folder / "tenant.yaml").read_text())
    (folder / "tenant.yaml").write_text(yaml.safe_dump({**said, **fields}))


def environment(folder: Path, running_in: str) -> dict[str, str]:
    """Short intervals, a CSV of the test's own, and a schedule that runs in these targets."""
    csv = folder / "fact_virtual.csv"
    shutil.copy(REPOSITORY / "tenants" / TENANT / "data" / "fact_virtual.csv", csv)
    return bare_environment(
        folder,
        APOLLO_TENANTS_DIR=str(folder / "tenants"),
        APOLLO_AUTOMATION_SECONDS="1",
        KAIZEN_WARS__FACT_VIRTUAL_CSV=str(csv),
        KAIZEN_WARS__FACT_VIRTUAL_CRON="* * * * *",
        KAIZEN_WARS__FACT_VIRTUAL_RUNNING_IN=running_in,
    )


@pytest.fixture
def cloud(folder: Path) -> Iterator[DbtCloud]:
    """dbt Cloud with the tenant's project, which builds in the file that dlt loads into."""
    project = tenant_folder(folder / "tenants")
    database = folder / "state" / "warehouse" / "local" / f"{TENANT}.duckdb"
    database.parent.mkdir(parents=True)
    with running_dbt_cloud(project, folder / "dbt_cloud", database=database) as running:
        yield running


def start(folder: Path, start_stack: StartStack, cloud: DbtCloud, *, running_in: str, **more: str) -> Kaizen:
    environ = {**environment(folder, running_in), **cloud.settings(f"{TENANT.upper()}__"), **more}
    stack = start_stack(environ, command=[*COMMAND, "--no-build"]).wait_until_ready()
    return Kaizen(stack, cloud, folder / "fact_virtual.csv", cloud.database)


def test_a_new_row_in_the_csv_comes_through_dbt_cloud_to_the_count_with_nobody_touching_anything(
    folder: Path, start_stack: StartStack, cloud: DbtCloud
) -> None:
    kaizen = start(folder, start_stack, cloud, running_in="local")
    kaizen.comes_to_count(COMMITTED_ROWS)

    kaizen.add_row(9001)

    kaizen.comes_to_count(COMMITTED_ROWS + 1)
    assert scheduled_loads(kaizen)
    assert {STAGED, *MARTS, COUNT} in kaizen.followed()
    assert all(run["status_humanized"] == "Success" for run in cloud.runs())
    assert len(cloud.runs()) >= 2


def looked(webserver: Webserver, group: str) -> bool:
    """Whether a location's automation has looked once: what was loaded before that is no news to it."""
    looks = webserver.looks(f"{TENANT}__{group}", f"{TENANT}__automation")
    return any(look["status"] != "STARTED" for look in looks)


def test_what_dbt_cloud_builds_by_itself_is_seen_by_the_sensor_and_counted_in_three_locations_too(
    folder: Path, start_stack: StartStack, cloud: DbtCloud
) -> None:
    say(folder / "tenants" / TENANT, code_locations=["ingestion", "dbt", "downstream"])
    one = start(folder, start_stack, cloud, running_in="prod")
    kaizen = replace(one, counting=f"{TENANT}__downstream")
    webserver = kaizen.stack.webserver
    assert webserver.locations() == {f"{TENANT}__{group}": None for group in ("ingestion", "dbt", "downstream")}
    assert webserver.runs() == []
    wait_until(lambda: looked(webserver, "dbt") and looked(webserver, "downstream"), "both have looked")
    webserver.finish(webserver.materialize(f"{TENANT}__ingestion", [LOADED]))
    kaizen.comes_to_count(COMMITTED_ROWS)
    assert kaizen.followed() == [{COUNT}, {STAGED, *MARTS}]
    load_by_somebody_else(kaizen.database)

    assert cloud.run()["status_humanized"] == "Success"

    kaizen.comes_to_count(COMMITTED_ROWS + 1)
    # What it reports of one run is not one moment: what is evaluated meanwhile may ask for the rest once more.
    followed = [built for built in kaizen.followed() if not built <= MARTS]
    assert followed == [{COUNT}, {COUNT}, {STAGED, *MARTS}], "what dbt Cloud built is not built again"


def test_a_column_that_another_team_renames_is_named_and_what_was_loaded_turns_stale_until_it_is_back(
    folder: Path, start_stack: StartStack, cloud: DbtCloud
) -> None:
    kaizen = start(folder, start_stack, cloud, running_in="local")
    webserver = kaizen.stack.webserver
    webserver.finish(webserver.materialize(TENANT, [LOADED, STAGED, *MARTS, COUNT]))
    with_downstream = webserver.materialize(TENANT, [STAGED, *MARTS, COUNT])
    webserver.finish(with_downstream)
    assert webserver.built(with_downstream) == {STAGED, *MARTS, COUNT}
    assert kaizen.counted() == COMMITTED_ROWS
    wait_until(lambda: freshness(kaizen) == "HEALTHY", "what was loaded is fresh")

    text = kaizen.csv.read_text()
    kaizen.csv.write_text(text.replace("minutes_saved", "hours_saved", 1))

    wait_until(lambda: scheduled_loads(kaizen, "FAILURE"), "the schedule's next load fails")
    [failed, *_] = scheduled_loads(kaizen, "FAILURE")
    assert "fact_virtual.csv: has no column `minutes_saved`. Its columns are: bout_id" in webserver.failure(failed)
    wait_until(lambda: freshness(kaizen) == "DEGRADED", "what was loaded is too old")
    kaizen.csv.write_text(text)
    wait_until(lambda: freshness(kaizen) == "HEALTHY", "what was loaded is fresh again")


def test_credentials_that_are_missing_or_wrong_are_named_where_a_person_looks(
    folder: Path, start_stack: StartStack, cloud: DbtCloud
) -> None:
    tenant_folder(folder / "tenants", "no_databricks", ingestion={"destination": "databricks"})
    wrong = {"KAIZEN_WARS__DBT_CLOUD_TOKEN": "dbtc_wrong"}
    webserver = start(folder, start_stack, cloud, running_in="prod", **wrong).stack.webserver

    told = webserver.locations()

    assert told[TENANT] is None
    for name in ("SERVER_HOSTNAME", "HTTP_PATH", "CATALOG", "TOKEN"):
        assert f"NO_DATABRICKS__DATABRICKS_{name}: is not set" in str(told["no_databricks"])
    assert '"dlt[databricks]"' in str(told["no_databricks"])
    run_id = webserver.materialize(TENANT, [STAGED])
    assert webserver.wait_for_run(run_id)["status"] == "FAILURE"
    assert "401" in webserver.failure(run_id)
    assert "Check DBT_CLOUD_TOKEN" in webserver.failure(run_id)
    assert "dbtc_wrong" not in webserver.failure(run_id) + kaizen_logs(folder)


def kaizen_logs(folder: Path) -> str:
    """All that the processes wrote."""
    return "".join(file.read_text(errors="replace") for file in (folder / "state" / "logs").glob("*.log"))


def freshness(kaizen: Kaizen) -> str:
    """Whether what was loaded is as fresh as its policy asks, as the asset's page shows it."""
    query = "query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {"
    query += " freshnessStatusInfo { freshnessStatus } } } }"
    answer = kaizen.stack.webserver.ask(query, key={"path": LOADED.split("/")})["assetNodeOrError"]
    return str((answer["freshnessStatusInfo"] or {}).get("freshnessStatus"))


def scheduled_loads(kaizen: Kaizen, status: str = "SUCCESS") -> list[str]:
    """The runs that the schedule launched and that ended so, the newest first."""
    return [
        run["runId"]
        for run in kaizen.stack.webserver.runs()
        if run["status"] == status and run["tags"].get("dagster/schedule_name") == "kaizen_wars_dlt_schedule"
    ]


def load_by_somebody_else(database: Path) -> None:
    """A row that no run of Dagster's loaded."""
    end = time.monotonic() + 30
    while True:
        try:
            with duckdb.connect(str(database)) as connection:
                connection.execute(
                    "insert into raw.fact_virtual by name select * replace (9002 as bout_id, 'other' as _dlt_id) "
                    "from raw.fact_virtual limit 1"
                )
        except duckdb.IOException:
            assert time.monotonic() < end
            time.sleep(0.2)
        else:
            return
