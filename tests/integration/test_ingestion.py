"""Where dlt loads, what it leaves behind, and what a person reads when it cannot."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.errors import ApolloError
from dagster_apollo.ingestion import Ingestion
from tests.support.canary import found_in
from tests.support.snowflake_account import running_account
from tests.support.tenant_folders import TenantFolders

TENANT = "kaizen_wars"
LOADED = dg.AssetKey([TENANT, "dlt_kaizen_wars_fact_virtual"])
TOKEN = "dapi-0123456789abcdef-planted"
DATABRICKS = {
    "DATABRICKS_SERVER_HOSTNAME": "dbc-1.cloud.databricks.com",
    "DATABRICKS_HTTP_PATH": "/sql/1.0/warehouses/1a2b",
    "DATABRICKS_CATALOG": "main",
    "DATABRICKS_TOKEN": TOKEN,
}


class Kaizen:
    """The tenant that ships, in a folder of its own, on DuckDB, with a CSV that a test may write."""

    def __init__(self, root: Path) -> None:
        self.csv = root / "bouts.csv"
        self.folders = TenantFolders(root, KAIZEN_WARS__FACT_VIRTUAL_CSV=str(self.csv), HOME=str(root / "home"))
        self.folder = self.folders.tenants_dir / TENANT
        shutil.copytree(repository_root() / "tenants" / TENANT, self.folder)
        shutil.copy(self.folder / "data" / "fact_virtual.csv", self.csv)
        self.say("warehouse: duckdb\ningestion: {destination: duckdb}\nautomation: any_deps_updated\nschedule: null\n")

    def say(self, tenant_yaml: str) -> None:
        """What `tenant.yaml` says from now on."""
        (self.folder / "tenant.yaml").write_text(tenant_yaml)

    def refused(self, **more: str) -> str:
        """Why nothing can be loaded."""
        with pytest.raises(ApolloError) as refused:
            Ingestion.of_tenant(self.folder, self.folders.of_tenant(TENANT, **more))
        return str(refused.value)

    def load(self) -> dg.ExecuteInProcessResult:
        """Run what the schedule runs."""
        definitions = self.folders.load(TENANT)
        with dg.DagsterInstance.ephemeral() as instance:
            job = definitions.resolve_job_def("kaizen_wars_dlt")
            return job.execute_in_process(instance=instance, raise_on_error=False)

    def failure(self) -> str:
        """What a load that fails says."""
        [event] = [event for event in self.load().all_events if event.event_type_value == "STEP_FAILURE"]
        return str(event.event_specific_data.user_failure_data.description)  # type: ignore[union-attr]

    def rows(self) -> int:
        """How many rows are loaded."""
        [[rows]] = self.folders.rows(TENANT, "select count(*) from raw.fact_virtual")
        return int(rows)


@contextmanager
def other_writer(file: Path, seconds: float) -> Iterator[None]:
    """Somebody else who has the database file open for a while."""
    program = "import sys, time, duckdb; held = duckdb.connect(sys.argv[1]); print('held', flush=True); "
    program += f"time.sleep({seconds})"
    with subprocess.Popen([sys.executable, "-c", program, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(duckdb.IOException, match="lock"):
            duckdb.connect(str(file))
        yield


@pytest.fixture
def kaizen(tmp_path: Path) -> Kaizen:
    return Kaizen(tmp_path)


def test_the_dbt_source_is_what_dlt_loads_and_carries_its_group_and_its_freshness(kaizen: Kaizen) -> None:
    graph = kaizen.folders.load(TENANT).resolve_asset_graph()

    model = graph.get(dg.AssetKey([TENANT, "staging", "stg_kaizen_wars__fact_virtual"]))
    assert model.parent_keys == {LOADED}
    loaded = graph.get(LOADED)
    assert (loaded.is_materializable, loaded.group_name, model.group_name) == (True, "ingestion", "dbt")
    assert loaded.freshness_policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=1))


def test_models_that_dbt_builds_here_follow_what_is_loaded_as_those_of_dbt_cloud_do(kaizen: Kaizen) -> None:
    definitions = kaizen.folders.load(TENANT)
    with dg.DagsterInstance.ephemeral() as instance:
        before = dg.evaluate_automation_conditions(definitions, instance)
        assert definitions.resolve_job_def("kaizen_wars_dlt").execute_in_process(instance=instance).success

        after = dg.evaluate_automation_conditions(definitions, instance, cursor=before.cursor)

    keys = definitions.resolve_asset_graph().materializable_asset_keys
    assert (before.total_requested, {key for key in keys if after.get_num_requested(key)}) == (0, keys - {LOADED})
    sensor = definitions.resolve_sensor_def("kaizen_wars__automation")
    assert (sensor.default_status, sensor.minimum_interval_seconds) == (dg.DefaultSensorStatus.RUNNING, 30)


@pytest.mark.parametrize(
    ("target", "status"),
    [("local", dg.DefaultScheduleStatus.STOPPED), ("prod", dg.DefaultScheduleStatus.RUNNING)],
)
def test_the_schedule_loads_every_five_minutes_and_runs_by_itself_in_prod_alone(
    kaizen: Kaizen, target: str, status: dg.DefaultScheduleStatus
) -> None:
    assert kaizen.folders.apollo("prepare", TENANT, DBT_TARGET=target).returncode == 0

    schedule = kaizen.folders.load(TENANT, DBT_TARGET=target).resolve_schedule_def("kaizen_wars_dlt_schedule")

    assert (schedule.cron_schedule, schedule.default_status) == ("*/5 * * * *", status)


def test_a_schedule_that_finds_a_load_under_way_launches_no_second_one(kaizen: Kaizen, tmp_path: Path) -> None:
    definitions = kaizen.folders.load(TENANT)
    schedule = definitions.resolve_schedule_def("kaizen_wars_dlt_schedule")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, dg.build_schedule_context(instance) as context:
        assert isinstance(schedule(context), dg.RunRequest)
        job = definitions.resolve_job_def("kaizen_wars_dlt")
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)

        assert isinstance(schedule(context), dg.SkipReason)


def test_what_is_loaded_twice_is_there_once_and_what_changed_is_changed(kaizen: Kaizen) -> None:
    assert kaizen.load().success
    assert kaizen.rows() == 120
    text = kaizen.csv.read_text().replace(",lost,0\n", ",drawn,0\n", 1)
    kaizen.csv.write_text(f"{text}9001,2026-06-01T08:00:00Z,Kita,seiri,won,30\n")

    assert kaizen.load().success

    assert kaizen.rows() == 121
    lost = "select count(*) from raw.fact_virtual where outcome = 'lost'"
    assert kaizen.folders.rows(TENANT, lost) == [(text.count(",lost,"),)]


def test_dlt_works_in_the_tenants_state_reports_to_nobody_and_leaves_the_home_folder_alone(kaizen: Kaizen) -> None:
    program = (
        "import os\nos.geteuid = lambda: 1000  # root's home folder would be /var/dlt\n"
        "from dagster_apollo.code_host import code_location\n"
        "definitions = code_location.load(dict(os.environ))\n"
        "assert definitions.resolve_job_def('kaizen_wars_dlt').execute_in_process().success\n"
        "from dlt.common.runtime.run_context import active\n"
        "print('telemetry', active().runtime_config.dlthub_telemetry, active().global_dir)\n"
    )
    home = Path(kaizen.folders.variables["HOME"])
    home.mkdir()
    environ = kaizen.folders.of_tenant(TENANT)

    ended = subprocess.run(
        [sys.executable, "-c", program], env=environ, cwd=home, capture_output=True, text=True, check=False
    )

    assert f"telemetry False {home}" in ended.stdout, ended.stderr
    assert [path.name for path in home.rglob("*") if path.is_file()] == []
    assert (kaizen.folders.state_dir / "tenants" / TENANT / "dlt" / TENANT / "state.json").is_file()


def test_a_tenants_locations_may_be_loaded_at_the_same_moment(kaizen: Kaizen) -> None:
    program = (
        "import sys, os, pathlib\n"
        "from dagster_apollo.ingestion import Ingestion\n"
        "found = Ingestion.of_tenant(pathlib.Path(sys.argv[1]), os.environ)\n"
        "print('ready', flush=True)\n"
        "for name in sys.stdin:\n"
        "    found.pipeline(name.strip(), dataset='raw')\n"
        "    print('made', flush=True)\n"
    )
    environ = kaizen.folders.of_tenant(TENANT)
    command = [sys.executable, "-c", program, str(kaizen.folder)]
    with ExitStack() as stack:
        locations = [
            stack.enter_context(
                subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(3)
        ]
        assert [_line_of(location) for location in locations] == ["ready\n"] * 3
        for number in range(30):
            for location in locations:
                assert location.stdin is not None
                location.stdin.write(f"pipeline_{number}\n")
                location.stdin.flush()
            assert [_line_of(location) for location in locations] == ["made\n"] * 3
        for location in locations:
            location.communicate()


def _line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_other_columns_are_named_and_nothing_is_loaded(kaizen: Kaizen) -> None:
    assert kaizen.load().success
    text = kaizen.csv.read_text()
    kaizen.csv.write_text(text.replace("minutes_saved", "hours_saved", 1) + "9001,x\n")

    told = kaizen.failure()

    assert "bouts.csv: has no column `minutes_saved`. Its columns are: bout_id, fought_at" in told
    assert "bouts.csv: has a column `hours_saved` that is not known" in told
    assert "Traceback" not in told
    assert kaizen.rows() == 120


def test_values_of_another_type_are_named_by_line_all_at_once(kaizen: Kaizen) -> None:
    kaizen.csv.write_text(
        "bout_id,fought_at,dojo,practice,outcome,minutes_saved\n"
        "one,2026-06-01T08:00:00Z,Kita,seiri,won,30\n"
        "2,yesterday,Kita,seiri,won,30\n"
        "3,2026-06-01T08:00:00,Kita,seiri,won\n"
        "4,2026-06-01T08:00:00Z,Kita,seiri,won,30,5\n"
    )

    told = kaizen.failure()

    assert "bouts.csv, line 2: bout_id: 'one' is not a whole number" in told
    assert "bouts.csv, line 3: fought_at: 'yesterday' is not a time with its zone" in told
    assert "bouts.csv, line 4: fought_at: '2026-06-01T08:00:00' is not a time with its zone" in told
    assert "bouts.csv, line 4: minutes_saved: None is not a whole number" in told
    assert "bouts.csv, line 5: has too many values" in told


def test_a_file_that_is_not_there_is_named_with_the_variable(kaizen: Kaizen) -> None:
    kaizen.csv.unlink()

    told = kaizen.failure()

    assert f"{kaizen.csv}: cannot be read: No such file or directory" in told
    assert "KAIZEN_WARS__FACT_VIRTUAL_CSV" in told


def test_a_load_waits_for_who_else_writes_the_database_file(kaizen: Kaizen) -> None:
    assert kaizen.load().success
    with other_writer(kaizen.folders.state_dir / "warehouse" / "local" / f"{TENANT}.duckdb", seconds=4):
        result = kaizen.load()

    assert result.success
    assert kaizen.rows() == 120


def test_a_tenant_that_ingests_says_where(kaizen: Kaizen) -> None:
    kaizen.say("warehouse: duckdb\n")

    told = kaizen.refused()

    assert "tenants/kaizen_wars/tenant.yaml: ingestion: is not there" in told
    assert "`ingestion: {destination: duckdb}`" in told


def test_databricks_without_its_settings_names_all_of_them_and_what_to_install(kaizen: Kaizen) -> None:
    kaizen.say("warehouse: duckdb\ningestion: {destination: databricks}\n")

    told = str(kaizen.folders.check(TENANT, DBT_TARGET="prod")[TENANT])

    for name in DATABRICKS:
        assert f"KAIZEN_WARS__{name}" in told
    assert told.count("is not set") == len(DATABRICKS)
    assert 'Add `"dlt[databricks]"` to the dependencies in pyproject.toml' in told


def test_settings_of_databricks_of_a_wrong_form_are_shown_and_the_token_is_not(kaizen: Kaizen) -> None:
    wrong = {"DATABRICKS_SERVER_HOSTNAME": "https://dbc-1.cloud.databricks.com", "DATABRICKS_HTTP_PATH": "warehouse"}
    kaizen.say("warehouse: duckdb\ningestion: {destination: databricks}\n")

    told = kaizen.refused(DBT_TARGET="prod", **{**DATABRICKS, **wrong})

    assert "DATABRICKS_SERVER_HOSTNAME: 'https://dbc-1.cloud.databricks.com' is not a host's name" in told
    assert "DATABRICKS_HTTP_PATH: 'warehouse' is not the path of a SQL warehouse" in told
    assert found_in(told, [TOKEN]) == []


def test_snowflake_without_its_settings_names_all_of_them(kaizen: Kaizen) -> None:
    kaizen.say("warehouse: duckdb\ningestion: {destination: snowflake}\n")

    told = kaizen.refused(DBT_TARGET="prod")

    for name in ("ACCOUNT", "USER", "ROLE", "WAREHOUSE", "DATABASE"):
        assert f"KAIZEN_WARS__SNOWFLAKE_{name}: is not set" in told
    assert "SNOWFLAKE_PRIVATE_KEY" in told


def test_on_a_laptop_no_account_is_needed_whatever_the_destination(kaizen: Kaizen) -> None:
    kaizen.say("warehouse: snowflake\ningestion: {destination: snowflake}\nautomation: eager\nschedule: null\n")

    assert kaizen.load().success

    assert kaizen.rows() == 120


@pytest.fixture(scope="module")
def snowflake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The settings of a running Snowflake that knows one key."""
    with running_account(tmp_path_factory.mktemp("snowflake")) as account:
        yield account.environ


def test_dlt_comes_to_snowflake_by_the_tenants_key_and_shows_it_to_nobody(
    kaizen: Kaizen, snowflake: Mapping[str, str]
) -> None:
    kaizen.say("warehouse: snowflake\ningestion: {destination: snowflake}\n")
    ingestion = Ingestion.of_tenant(kaizen.folder, kaizen.folders.of_tenant(TENANT, **snowflake))
    pipeline = ingestion.pipeline(TENANT, dataset="raw")

    with pipeline.sql_client() as client:
        rows = client.execute_sql("select current_user(), current_role(), current_database()")

    assert rows == [("APOLLO", "TRANSFORMER", "ANALYTICS")]
    pem = Path(snowflake["SNOWFLAKE_PRIVATE_KEY_PATH"]).read_text()
    body = ["".join(pem.splitlines()[1:-1]), *pem.splitlines()[1:-1]]
    shown = repr((ingestion, ingestion.destination, pipeline, str(pipeline.destination)))
    written = "".join(
        path.read_bytes().decode(errors="replace") for path in ingestion.pipelines_dir.rglob("*") if path.is_file()
    )
    assert written
    assert found_in(shown + written, body) == []
