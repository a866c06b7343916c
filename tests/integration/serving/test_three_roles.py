"""Webserver, daemon and code host as separate processes on one Postgres: they run a job, and say how they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.postgres import Postgres
from tests.support.roles import Roles, roles_of
from tests.support.tenants import write_tenant

pytestmark = pytest.mark.slow

ON_SNOWFLAKE = "warehouse: snowflake\n"
SAYING = """\
import dagster as dg


@dg.asset(key_prefix="alpha")
def spoken() -> None:
    print("words of a run")


defs = dg.Definitions(assets=[spoken])
"""


@pytest.fixture(scope="module")
def roles(module_folder: Path, postgres: Postgres) -> Iterator[Roles]:
    """Two tenants, of which one can't be served: its secrets are missing."""
    with roles_of(module_folder, postgres) as made:
        files = {"first.sql": "select 1 as id", "definitions.py": SAYING}
        write_tenant(made.tenants_dir, "alpha", files)
        write_tenant(made.tenants_dir, "winter", {"first.sql": "select 1 as id"}, ON_SNOWFLAKE)
        yield made.start_all()


def test_a_job_runs_to_success(roles: Roles) -> None:
    run_id = roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/first"])

    assert roles.webserver.finish(run_id)["status"] == "SUCCESS"
    assert roles.webserver.built(run_id) == {"alpha/first"}


def test_what_a_run_prints_is_read_from_the_database(roles: Roles) -> None:
    run_id = roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/spoken"])
    roles.webserver.finish(run_id)

    captured = (
        '{ logsForRun(runId: "%s") { ... on EventConnection { events { ... on LogsCapturedEvent { fileKey } } } } }'
    )
    events = roles.webserver.ask(captured % run_id)["logsForRun"]["events"]
    [key] = [event["fileKey"] for event in events if event.get("fileKey")]
    query = "query($key: [String!]!) { capturedLogs(logKey: $key) { stdout } }"
    told = roles.webserver.ask(query, key=[run_id, "compute_logs", key])["capturedLogs"]["stdout"]
    assert told.strip() == "words of a run"
    assert roles.get(f"/logs/{run_id}/compute_logs/{key}/out")[1].strip() == "words of a run"
    rows = roles.postgres.rows(f"select stream, complete from apollo_compute_logs where log_key like '{run_id}/%'")
    assert {("out", True), ("err", True)} <= set(rows)


def test_a_location_without_its_secrets_names_every_variable(roles: Roles) -> None:
    told = roles.status()

    error = told["locations"]["winter"]["error"]
    for name in ("ACCOUNT", "USER", "ROLE", "WAREHOUSE", "DATABASE", "PRIVATE_KEY_PEM"):
        assert f"WINTER__SNOWFLAKE_{name}" in error or f"SNOWFLAKE_{name}" in error
    assert told["locations"]["alpha"] == {"loaded": True, "error": None}
    assert [reason["where"] for reason in told["reasons"]] == ["location winter"]
    assert "WINTER__SNOWFLAKE_ACCOUNT" in (roles.webserver.locations()["winter"] or "") + error


def test_the_status_says_what_each_role_runs(roles: Roles) -> None:
    told = roles.status()

    assert told["release"] == "release-of-webserver"
    assert told["daemon"]["release"] == "release-of-daemon"
    assert told["code"]["release"] == "release-of-code"
    assert told["database"]["ok"]
    assert all(age is not None for age in told["daemon"]["heartbeats"].values())


def test_the_status_is_shown_to_nobody_who_is_not_logged_in(roles: Roles) -> None:
    for path in ("/status", "/metrics", "/status?format=prometheus"):
        assert roles.get(path, token="")[0] == 401
    assert roles.get("/livez", token="") == (200, '{"alive":true}')


def test_who_sees_one_tenant_is_told_of_that_one_alone(roles: Roles) -> None:
    code, text = roles.get("/status", token="alpha")

    assert code == 200  # what is red is another's
    told = json.loads(text)
    assert set(told["locations"]) == {"alpha"}
    assert "winter" not in text
    assert "winter" not in roles.get("/metrics", token="alpha")[1]


def test_prometheus_reads_the_same_numbers(roles: Roles) -> None:
    code, text = roles.get("/metrics")

    assert code == 200
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["apollo_ok",] == 0
    assert samples["apollo_database_up",] == 1
    assert samples["apollo_location_loaded", "alpha"] == 1
    assert samples["apollo_location_loaded", "winter"] == 0
    assert samples["apollo_runs", "QUEUED"] == 0
    assert samples["apollo_daemon_heartbeat_age_seconds", "SCHEDULER"] >= 0


def test_each_role_lives_by_the_check_of_its_container(roles: Roles) -> None:
    assert {role: roles.alive(role) for role in ("webserver", "daemon", "code")} == dict.fromkeys(
        ("webserver", "daemon", "code"), 0
    )


def test_a_tenants_process_that_is_killed_comes_back_and_takes_no_other_along(roles: Roles) -> None:
    before = {tenant: roles.tenant_process(tenant).pid for tenant in ("alpha", "winter")}
    roles.tenant_process("alpha").kill()

    roles.wait_until(lambda: "alpha: its process ended with -9" in roles.said("code"), "it is heard of")
    assert all(entry["ready"] for entry in json.loads(roles.get("/locations", "code")[1])["locations"])
    assert roles.status()["locations"]["alpha"]["loaded"]
    roles.webserver.finish(roles.webserver.launch("alpha", "__ASSET_JOB", ["alpha/first"]))
    assert roles.tenant_process("alpha").pid != before["alpha"]
    assert roles.tenant_process("winter").pid == before["winter"]


def test_a_code_host_that_is_away_makes_the_status_red_by_name_and_nothing_else(roles: Roles) -> None:
    assert roles.stop("code") == 0

    def is_told() -> bool:
        return "code host" in {reason["where"] for reason in roles.status()["reasons"]}

    roles.wait_until(is_told, "the status names the code host")
    told = roles.status()
    assert {"location alpha", "location winter"} <= {reason["where"] for reason in told["reasons"]}
    assert not told["code"]["ok"]
    assert roles.get("/livez", token="")[0] == 200
    assert roles.alive("webserver") == 0
    assert roles.alive("code") == 1

    write_tenant(roles.tenants_dir, "beta", {"second.sql": "select 2 as id"})
    roles.start("code")

    def is_followed() -> bool:
        loaded = {name: entry["loaded"] for name, entry in roles.status()["locations"].items()}
        return loaded == {"alpha": True, "beta": True, "winter": False}

    roles.wait_until(is_followed, "the webserver sees the new tenant without a restart")
    roles.webserver.finish(roles.webserver.launch("beta", "__ASSET_JOB", ["beta/second"]))


def test_a_daemon_that_is_gone_makes_the_status_red(roles: Roles) -> None:
    assert roles.stop("daemon") == 0
    assert roles.alive("daemon") == 1
    roles.postgres.rows("update daemon_heartbeats set timestamp = timestamp - interval '1 hour' returning 1")

    def told() -> list[dict[str, str]]:
        reasons = [reason for reason in roles.status()["reasons"] if reason["where"] == "daemon"]
        return [reason for reason in reasons if "SCHEDULER" in reason["what"]]

    # The records' own age may count: then it takes APOLLO_HEARTBEAT_SECONDS and the status's own interval, and
    # each of the daemon's threads gave its last sign at a time of its own.
    roles.wait_until(told, "the scheduler's heartbeat is stale", 400)
    [reason] = told()
    assert "restart" in reason["remedy"]

    roles.start("daemon")
    roles.wait_until(lambda: roles.status()["daemon"].get("ok"), "it is back")
    assert roles.alive("daemon") == 0


def test_the_webserver_ends_well_while_a_page_is_open(roles: Roles) -> None:
    from websockets.sync.client import connect

    address = f"ws://127.0.0.1:{roles.ports['webserver']}/graphql"
    headers = {"Authorization": f"Bearer {roles.tokens['all']}"}
    with connect(address, subprotocols=["graphql-ws"], additional_headers=headers) as page:  # type: ignore[list-item]
        page.send(json.dumps({"type": "connection_init"}))
        assert json.loads(page.recv())["type"] == "connection_ack"
        assert roles.stop("webserver") == 0
    roles.start("webserver")
    roles.wait_until(lambda: roles.get("/livez", token="")[0] == 200, "it is back")
