"""Notifications as they happen: daemon, webserver and code locations in processes of their own, real receivers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.notified import PASSWORD, Notified, being_notified
from tests.support.stack import COMMAND, Stack, StartStack, bare_environment
from tests.support.tenants import ON_DUCKDB, write_tenant
from tests.support.webserver import wait_until

pytestmark = pytest.mark.slow

TELLING = "notifications: [{url_variable: TELL_US}, {url_variable: TELL_THEM, about: [run_failure]}]\n"
MODELS = {
    "first.sql": "select 1 as id",
    "broken.sql": "select no_such_column from {{ ref('first') }}",
    "models.yml": "models: [{name: first, columns: [{name: id, data_tests: "
    "[{accepted_values: {arguments: {values: [2]}, config: {severity: warn}}}]}]}]",
}


@dataclass
class Told:
    """The stack, and who is told by which tenant."""

    stack: Stack
    us: Notified
    them: Notified
    other: Notified


@pytest.fixture(scope="module")
def told(module_folder: Path, start_shared_stack: StartStack) -> Iterator[Told]:
    tenants = module_folder / "tenants"
    retried = "retries: {count: 1, after_failure: true}\n"
    write_tenant(tenants, "acme", MODELS, ON_DUCKDB + TELLING + retried)
    write_tenant(tenants, "other", MODELS, ON_DUCKDB + "notifications: [{url_variable: TELL_US}]\n")
    with being_notified() as us, being_notified() as them, being_notified() as other:
        settings = {
            "APOLLO_TENANTS_DIR": str(tenants),
            "APOLLO_NOTIFY_SECONDS": "1",
            "ACME__TELL_US": us.url,
            "ACME__TELL_THEM": them.url,
            "OTHER__TELL_US": other.url,
        }
        environ = bare_environment(module_folder, **settings)
        stack = start_shared_stack(environ, command=[*COMMAND, "--no-build"]).wait_until_ready()
        yield Told(stack, us, them, other)


def test_what_is_launched_by_hand_and_fails_is_told_to_that_tenants_receivers_and_to_no_other_tenants(
    told: Told,
) -> None:
    run_id = told.stack.webserver.materialize("acme", ["acme/first", "acme/broken"])
    wait_until(lambda: told.us.messages and told.them.messages, "both receivers are told")
    [(title, text, kind)] = told.us.messages
    assert title == "acme: the run of assets failed"
    assert 'Referenced column "no_such_column" not found' in text
    assert "WARN accepted_values_first_id__2 on first: 1 rows" in text
    assert f"{told.stack.address}/runs/{run_id}" in text
    assert kind == "failure"
    second = told.stack.webserver.materialize("other", ["other/first"])
    wait_until(lambda: told.other.messages, "the other tenant's receiver is told of its own")
    [(title, text, kind)] = told.other.messages
    assert title == "other: 1 check warned in the run of assets"
    assert second in text
    assert kind == "warning"
    assert len(told.us.messages) == len(told.them.messages) == 1


def test_a_run_that_dagster_takes_up_again_is_told_once_while_a_receiver_that_is_down_is_told_later(
    told: Told,
) -> None:
    told.us.messages.clear()
    told.them.messages.clear()
    told.them.status = 500
    told.stack.webserver.launch("acme", "acme__build")
    wait_until(lambda: told.us.messages, "the receiver that is there is told")
    assert told.us.titles == ["acme: the run of build failed, 2 times"]
    wait_until(lambda: told.them.refused >= 2, "it is tried again")
    looks = told.stack.webserver.looks("acme", "acme__tell_tell_them")
    failed = [look for look in looks if look["status"] == "FAILURE"]
    assert "ACME__TELL_THEM: its receiver did not take a message (HTTP 500)" in str(failed[0]["error"])
    told.them.status = 200
    wait_until(lambda: told.them.messages, "the other one is told when it is back")
    ended = [run for run in told.stack.webserver.runs() if run["tags"].get("dagster/root_run_id")]
    assert len(ended) == 1
    assert told.them.titles == told.us.titles == ["acme: the run of build failed, 2 times"]


def test_no_part_of_a_receivers_url_is_written_anywhere(told: Told, module_folder: Path) -> None:
    assert told.us.messages, "the tests above have run"
    assert PASSWORD not in told.stack.said
    places = [Path(told.stack.environ[name]) for name in ("APOLLO_STATE_DIR", "DAGSTER_HOME", "TMPDIR")]
    found = [
        str(file)
        for place in places
        for file in place.rglob("*")
        if file.is_file() and PASSWORD.encode() in file.read_bytes()
    ]
    assert found == []
