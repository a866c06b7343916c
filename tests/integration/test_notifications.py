"""Who is told of which failure, in whose words, how often, and what becomes of it when a receiver is down.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from apprise.plugins.custom_json import NotifyJSON

from dagster_apollo.errors import NotificationError, SettingsError
from dagster_apollo.notifications.ended_runs import UNDECIDED_SECONDS, EndedRun, ended_run, is_undecided
from dagster_apollo.notifications.receivers import Message, Receiver
from dagster_apollo.notifications.sensors import Told, tell_of_ended_runs
from tests.support.notified import PASSWORD, Notified, being_notified
from tests.support.ports import free_port
from tests.support.tenant_folders import TenantFolders

LOCATION = "__repository__@acme"


@pytest.fixture
def notified() -> Iterator[Notified]:
    with being_notified() as receiver:
        yield receiver


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@dataclass
class Look:
    """The looks of one receiver's sensor, one after the other."""

    instance: dg.DagsterInstance
    url: str
    failed_runs: bool = True
    failed_checks: bool = True
    cursor: str | None = None

    def __call__(self) -> int:
        receiver = Receiver("ACME__TELL_US", self.failed_runs, self.failed_checks, self.url)
        told = Told.read(self.cursor, time.time())
        sent = tell_of_ended_runs(self.instance, LOCATION, "acme", receiver, "https://data.example.com", told)
        self.cursor = told.written()  # a look that fails leaves it, as Dagster does
        return sent


@dg.asset(key_prefix="acme")
def broken() -> None:
    raise dg.Failure("model broken: Binder Error: no such column. See models/broken.sql.")


@dg.asset(
    key_prefix="acme",
    check_specs=[dg.AssetCheckSpec(name, asset=["acme", "checked"]) for name in ("unique_id", "recent")],
)
def checked(context: dg.AssetExecutionContext) -> Iterator[Any]:
    yield dg.Output(1)
    passed = context.run.tags.get("passes") == "yes"
    yield dg.AssetCheckResult(
        check_name="unique_id", passed=passed, metadata={"dagster_dbt/failed_row_count": 0 if passed else 3}
    )
    yield dg.AssetCheckResult(check_name="recent", passed=False, severity=dg.AssetCheckSeverity.WARN)


def run(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, location: str = LOCATION, **tags: str) -> str:
    """Materialize as a run of a code location; returns its id."""
    tags = {".dagster/repository": location, "dagster/will_retry": "false", **tags}
    return dg.materialize([asset], instance=instance, tags=tags, raise_on_error=False).run_id


def test_a_failed_run_is_told_once_in_dbts_words_with_a_link(instance: dg.DagsterInstance, notified: Notified) -> None:
    look = Look(instance, notified.url)
    run_id = run(instance, broken)
    assert [look(), look()] == [1, 0]
    [(title, text, kind)] = notified.messages
    assert title.startswith("acme: the run of ")
    assert title.endswith(" failed")
    assert "model broken: Binder Error: no such column. See models/broken.sql." in text
    assert f"https://data.example.com/runs/{run_id}" in text
    assert kind == "failure"


def test_failed_checks_are_told_though_the_run_is_green_and_errors_are_told_from_warnings(
    instance: dg.DagsterInstance, notified: Notified
) -> None:
    look = Look(instance, notified.url)
    run(instance, checked)
    run(instance, checked, passes="yes")
    assert look() == 2
    [(_, both, loud), (title, warned, quiet)] = notified.messages
    assert both.splitlines()[:2] == ["ERROR unique_id on checked: 3 rows", "WARN recent on checked"]
    assert loud == "failure"
    assert title.startswith("acme: 1 check warned in the run of ")
    assert "ERROR" not in warned
    assert quiet == "warning"


@pytest.mark.parametrize(("wants", "told"), [("run_failure", "broken"), ("check_failure", "checked")])
def test_a_receiver_is_told_what_it_wants_to_hear_of_and_nothing_else(
    instance: dg.DagsterInstance, notified: Notified, wants: str, told: str
) -> None:
    look = Look(instance, notified.url, wants == "run_failure", wants == "check_failure")
    run(instance, broken)
    run(instance, checked)
    assert look() == 1
    [(_, text, _)] = notified.messages
    assert told in text


def test_runs_of_other_code_locations_are_not_told(instance: dg.DagsterInstance, notified: Notified) -> None:
    run(instance, broken, "__repository__@other")
    run(instance, broken, "__repository__@acme__dbt")
    assert Look(instance, notified.url)() == 0
    assert notified.messages == []


def test_a_receiver_that_is_down_has_the_tick_fail_and_is_told_of_everything_when_it_is_back(
    instance: dg.DagsterInstance, notified: Notified
) -> None:
    notified.status = 503
    look = Look(instance, notified.url)
    run(instance, broken)
    run(instance, checked)
    for _ in range(3):
        with pytest.raises(NotificationError) as down:
            look()
    [problem] = down.value.problems
    assert problem.where == "ACME__TELL_US"
    assert "HTTP 503" in problem.what
    notified.status = 200
    assert look() == 2
    assert look() == 0
    assert len(notified.messages) == 2


def test_what_was_told_before_a_receiver_went_down_is_not_told_again(
    instance: dg.DagsterInstance, notified: Notified, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Look(instance, notified.url)
    run(instance, broken)
    run(instance, checked)
    send = Receiver.send

    def and_then_go_down(receiver: Receiver, message: Any) -> None:
        send(receiver, message)
        notified.status = 503

    monkeypatch.setattr(Receiver, "send", and_then_go_down)
    assert look() == 1, "the first is told and kept; the second is for the next look"
    with pytest.raises(NotificationError):
        look()
    notified.status = 200
    assert look() == 1
    assert len(set(notified.messages)) == len(notified.messages) == 2


def test_what_was_told_is_not_told_again_while_another_run_cannot_be_read(
    instance: dg.DagsterInstance, notified: Notified, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Look(instance, notified.url)
    run(instance, broken)
    unreadable = run(instance, checked)

    def read(instance: dg.DagsterInstance, run: dg.DagsterRun) -> EndedRun:
        if run.run_id == unreadable:
            raise OSError("the database does not answer")
        return ended_run(instance, run)

    with monkeypatch.context() as patch:
        patch.setattr("dagster_apollo.notifications.sensors.ended_run", read)
        assert look() == 1
        with pytest.raises(OSError, match="does not answer"):
            look()
    assert look() == 1
    assert len(set(notified.messages)) == len(notified.messages) == 2


@pytest.mark.parametrize("most", [500, 120])
def test_a_service_that_takes_short_messages_is_sent_one_that_it_takes(
    notified: Notified, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(NotifyJSON, "body_maxlen", most)
    Receiver("ACME__TELL_US", True, True, notified.url).send(Message("acme failed", "model broken: " * 200, "failure"))

    [(_, text, _)] = notified.messages
    assert 20 < len(text) <= most
    assert "characters more" in text


def test_nothing_of_the_url_is_in_an_error_a_log_or_a_cursor(
    instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    url = f"json://somebody:{PASSWORD}@127.0.0.1:{free_port()}/path-of-a-token"
    look = Look(instance, url)
    run(instance, broken)
    with pytest.raises(NotificationError) as down:
        look()
    receiver = Receiver("ACME__TELL_US", True, True, url)
    output = capfd.readouterr()
    for text in (str(down.value), repr(receiver), str(look.cursor), caplog.text, output.out, output.err):
        assert PASSWORD not in text
        assert "path-of-a-token" not in text


def attempt_after(instance: dg.DagsterInstance, first: str, status: dg.DagsterRunStatus) -> None:
    """A second attempt of a run, as Dagster's daemon makes one, that ended."""
    job = dg.Definitions([broken], jobs=[dg.define_asset_job("acme__build", [broken])]).resolve_job_def("acme__build")
    second = instance.create_run_for_job(
        job,
        status=status,
        tags={
            ".dagster/repository": LOCATION,
            "dagster/will_retry": "false",
            "dagster/parent_run_id": first,
            "dagster/root_run_id": first,
        },
        parent_run_id=first,
        root_run_id=first,
    )
    instance.add_run_tags(first, {"dagster/auto_retry_run_id": second.run_id})


def test_a_run_that_is_taken_up_again_is_told_by_its_last_attempt_alone(
    instance: dg.DagsterInstance, notified: Notified
) -> None:
    look = Look(instance, notified.url)
    first = run(instance, broken, **{"dagster/will_retry": "true"})
    assert look() == 0, "its next attempt has not begun"
    attempt_after(instance, first, dg.DagsterRunStatus.FAILURE)
    assert [look(), look()] == [1, 0]
    assert notified.titles == ["acme: the run of build failed, 2 times"]


def test_a_run_that_succeeds_when_taken_up_again_is_not_told(instance: dg.DagsterInstance, notified: Notified) -> None:
    look = Look(instance, notified.url)
    first = run(instance, broken, **{"dagster/will_retry": "true"})
    attempt_after(instance, first, dg.DagsterRunStatus.SUCCESS)
    assert look() == 0
    assert notified.messages == []


def test_a_check_that_warned_in_an_earlier_attempt_is_told_with_the_last(
    instance: dg.DagsterInstance, notified: Notified
) -> None:
    look = Look(instance, notified.url)
    first = run(instance, checked, passes="yes", **{"dagster/will_retry": "true"})
    instance.report_run_failed(instance.get_run_by_id(first))
    attempt_after(instance, first, dg.DagsterRunStatus.SUCCESS)
    assert look() == 1
    [(title, text, kind)] = notified.messages
    assert title == "acme: 1 check warned in the run of build"
    assert text.startswith("WARN recent on checked\n")
    assert kind == "warning"


def test_a_failure_is_not_told_before_dagster_has_decided_whether_to_take_it_up_again() -> None:
    with dg.instance_for_test(overrides={"run_retries": {"enabled": True}}) as instance:
        failed = dg.DagsterRun(job_name="build", status=dg.DagsterRunStatus.FAILURE)
        assert is_undecided(instance, failed, 1)
        assert not is_undecided(instance, failed, UNDECIDED_SECONDS + 1)
        assert not is_undecided(instance, failed.with_tags({"dagster/will_retry": "false"}), 1)


def sensors(folders: TenantFolders, **variables: str) -> list[str]:
    definitions = folders.load("acme", **variables)
    return sorted(sensor.name for sensor in definitions.sensors or [])


TENANT = {
    "models/one.sql": "select 1 as id",
    "tenant.yaml": """
warehouse: duckdb
notifications:
  - {url_variable: TELL_US}
  - {url_variable: TELL_THEM, about: [check_failure]}
""",
}


def test_every_receiver_has_a_sensor_of_its_own_that_runs_by_declaration(tmp_path: Path) -> None:
    folders = TenantFolders(tmp_path, DBT_TARGET="dev")
    folders.write("acme", TENANT)
    folders.apollo("prepare", "acme", ACME__TELL_US="json://a", TELL_THEM="json://b")
    definitions = folders.load("acme", ACME__TELL_US="json://a", TELL_THEM="json://b")
    found = {sensor.name: sensor.default_status for sensor in definitions.sensors or []}
    running = dg.DefaultSensorStatus.RUNNING
    assert found == {"acme__tell_tell_us": running, "acme__tell_tell_them": running}


def test_on_a_laptop_a_receiver_without_a_url_is_left_out_and_elsewhere_it_keeps_the_tenant_from_being_served(
    tmp_path: Path,
) -> None:
    folders = TenantFolders(tmp_path)
    folders.write("acme", TENANT)
    assert sensors(folders, ACME__TELL_US="json://a") == ["acme__tell_tell_us"]
    folders.apollo("prepare", "acme", DBT_TARGET="dev")
    with pytest.raises(SettingsError) as refused:
        sensors(folders, DBT_TARGET="dev", ACME__TELL_US=f"nosuchservice://{PASSWORD}")
    assert {problem.where for problem in refused.value.problems} == {"ACME__TELL_US", "ACME__TELL_THEM"}
    assert PASSWORD not in str(refused.value)


def test_dbt_is_not_given_the_urls(tmp_path: Path) -> None:
    folders = TenantFolders(tmp_path)
    folders.write("acme", {**TENANT, "models/one.sql": "select '{{ env_var('TELL_US', 'unset') }}' as told"})
    assert folders.build("acme", ACME__TELL_US="json://a").success
    assert folders.rows("acme", "select told from one") == [("unset",)]
