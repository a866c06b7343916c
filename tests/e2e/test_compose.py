"""A Docker host by `docker compose up`, on a real engine: from a clone to a run behind a login, and away again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_apollo.host.role import UNPRIVILEGED_ID
from dagster_apollo.tenant import tenant_names
from dagster_apollo.topology import DRAIN_SECONDS
from tests.support.compose import ComposeHost, compose_host
from tests.support.container_engine import ContainerEngine
from tests.support.deployed_stack import JOB, TENANT
from tests.support.webserver import FINAL, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

ROLES = {"dagster-webserver", "dagster-daemon", "dagster-code"}
RUN_TIMEOUT_SECONDS = 1200.0
TENANT_SECRET = "a-tenants-own-4711"


@pytest.fixture(scope="module")
def host(container_engine: ContainerEngine, module_folder: Path) -> Iterator[ComposeHost]:
    with compose_host(container_engine, module_folder, "apollo-test-compose") as made:
        (made.clone / ".env.tenants").write_text(f"DBT_WILLIAMGRANT__ERP_PASSWORD={TENANT_SECRET}\n")
        made.up("--build")
        made.stack.wait_until_it_serves(TENANT)
        yield made


# The tests below are steps of one story, in this order: each leaves the host as the next one finds it.


def test_the_login_answers_and_strangers_are_refused(host: ComposeHost) -> None:
    host.stack.assert_strangers_are_refused()
    host.stack.assert_the_login_lets_people_in()


def test_a_run_of_the_whisky_tenant_succeeds(host: ComposeHost) -> None:
    webserver = host.stack.webserver
    run_id = webserver.launch(TENANT, JOB)
    wait_until(lambda: webserver.run(run_id)["status"] in FINAL, "the run ends", RUN_TIMEOUT_SECONDS)
    webserver.finish(run_id)

    assets = webserver.assets(TENANT)
    assert webserver.built(run_id) == {key for key, node in assets.items() if node["isMaterializable"]}


def test_every_role_has_the_rights_it_needs_and_no_others(host: ComposeHost) -> None:
    for name, container in host.containers().items():
        settings = container["HostConfig"]
        assert settings["CapDrop"] == ["ALL"], name
        assert settings["SecurityOpt"] == ["no-new-privileges:true"], name
        assert settings["ReadonlyRootfs"] is (name in ROLES), name
        assert settings["RestartPolicy"]["Name"] == "unless-stopped"
    granted = host.containers()["dagster-code"]["HostConfig"]["CapAdd"]
    assert [name.removeprefix("CAP_") for name in granted] == ["SETGID", "SETUID"]
    for name in ("dagster-webserver", "dagster-daemon"):
        assert host.containers()[name]["HostConfig"]["CapAdd"] is None
        assert host.containers()[name]["Config"]["User"] == "10001:10001"


def test_the_front_and_each_tenant_that_works_have_a_user_of_their_own_and_no_rights(host: ComposeHost) -> None:
    container = host.containers()["dagster-code"]["Id"]
    script = "for each in /proc/[0-9]*; do grep -hE '^(Uid|CapEff)' $each/status | tr '\\n' ' '; echo; done"
    told = host.engine.docker("exec", container, "sh", "-c", script)

    users = {int(line.split()[1]): line.split()[-1] for line in told.splitlines() if line.startswith("Uid")}
    unprivileged = {uid: capabilities for uid, capabilities in users.items() if uid}
    assert UNPRIVILEGED_ID in unprivileged, told
    # A tenant that nobody has needed for a while has no process.
    assert 1 <= len(unprivileged) - 1 <= len(tenant_names(host.clone / "tenants")), told
    assert set(unprivileged.values()) == {"0" * 16}


def test_only_the_code_host_is_given_tenants_variables_and_nothing_of_the_login(host: ComposeHost) -> None:
    for name in host.containers():
        held = host.environment(name)
        assert (held.get("DBT_WILLIAMGRANT__ERP_PASSWORD") == TENANT_SECRET) is (name == "dagster-code"), name
        assert ("APOLLO_SESSION_SECRET" in held) is (name == "dagster-webserver"), name


def test_a_second_up_changes_nothing(host: ComposeHost) -> None:
    before = host.incarnations()

    host.up()

    assert host.incarnations() == before


def test_a_changed_tenant_replaces_the_code_host_alone_and_loses_no_history(host: ComposeHost) -> None:
    before, history = host.incarnations(), host.stack.history()
    model = next((host.clone / "tenants" / TENANT / "models").rglob("*.sql"))
    (model.parent / "added_by_the_test.sql").write_text("select 1 as id\n")

    host.up("--build")
    host.stack.wait_until_it_serves(TENANT)

    after = host.incarnations()
    assert {name for name in after if after[name] != before[name]} == {"dagster-code"}
    assert host.stack.history() == history
    assert history
    assert any(key.endswith("/added_by_the_test") for key in host.stack.webserver.assets(TENANT))


def test_every_role_ends_by_itself_when_it_is_told_to(host: ComposeHost) -> None:
    host.compose("stop", "--timeout", str(DRAIN_SECONDS))

    codes = {name: each["State"]["ExitCode"] for name, each in host.containers().items() if name in ROLES}
    assert codes == dict.fromkeys(ROLES, 0)  # 137 would be SIGKILL, 143 a process that SIGTERM killed unasked


def test_down_leaves_nothing(host: ComposeHost) -> None:
    host.down()

    assert host.leftovers() == []
