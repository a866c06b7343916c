"""Each tenant's process is another user: it reads nothing of another's, and nothing of the code host's.

Started as the code host is in its container: root, with SETUID and SETGID and no other capability.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from dagster_apollo.host.role import UNPRIVILEGED_ID
from tests.support.postgres import Postgres
from tests.support.roles import Roles, roles_of
from tests.support.root import Root
from tests.support.tenants import ON_DUCKDB, write_tenant

pytestmark = pytest.mark.slow

PROGRAMS = {
    "its neighbour's environment": "cat /proc/{neighbour}/environ",
    "its neighbour's memory": "head -c 1 /proc/{neighbour}/mem",
    "its neighbour's open files": "ls /proc/{neighbour}/fd",
    "its neighbour's folder": "ls {folder}",
    "a file of its neighbour's": "cat {folder}/dagster/dagster.yaml",
    "the names of all tenants": "ls {folder}/..",
    "the code host's environment": "cat /proc/{host}/environ",
    "the front's memory, and so its token": "head -c 1 /proc/{front}/mem",
    "the zygote's open files": "ls /proc/{zygote}/fd",
    "the zygote's life": "kill -KILL {zygote}",
    "its neighbour's snapshot": "ls {folder}/../../snapshots/beta",
    "its own snapshot, which others are shown": "ls {folder}/../../snapshots/alpha",
    "its neighbour's life": "kill -KILL {neighbour}",
    "the code host's life": "kill -KILL {host}",
    "a folder in another's name": "mkdir {folder}/../delta",
    "its neighbour's channel to the container engine": "cat {folder}/../../containers/beta.sock",
    "a channel in its neighbour's place": "rm {folder}/../../containers/beta.sock",
    "another folder in place of what its container mounts": "mv {folder}/../alpha/warehouse {folder}/../alpha/other",
    "a link in place of that folder": "rmdir {folder}/../alpha/warehouse",
}
# What a tenant's Python sees where it is loaded; and it leaves something that goes on in a session of its own.
SEEN = """\
import json, os, subprocess
from pathlib import Path

import dagster as dg

Path(os.environ["HOME"], "seen.json").write_text(json.dumps(dict(os.environ)))
subprocess.Popen(["sleep", "600"], start_new_session=True)
defs = dg.Definitions()
"""
# Its processes are no others for it; no engine is needed for what it is kept from.
IN_CONTAINERS = "warehouse: duckdb\nexecution: docker\ncontainer: {image: 'nobody.invalid/none:1'}\n"


@pytest.fixture(scope="module")
def roles(module_folder: Path, postgres: Postgres) -> Iterator[Roles]:
    root = Root.here()
    with roles_of(module_folder, postgres, root) as made:
        for name in ("alpha", "beta", "gamma"):
            tenant_yaml = ON_DUCKDB if name == "gamma" else IN_CONTAINERS
            write_tenant(made.tenants_dir, name, {"first.sql": "select 1 as id", "definitions.py": SEEN}, tenant_yaml)
        secrets = {"ALPHA__API_TOKEN": "secret-of-alpha", "BETA__API_TOKEN": "secret-of-beta"}
        # As a `.env` of a Docker host may hold them, which the code host is given whole.
        secrets |= {"APOLLO_SESSION_SECRET": "secret-of-webserver", "RENDER_API_KEY": "secret-of-deploys"}
        made.start("migrate")
        assert made.running.pop("migrate").wait(60) == 0
        # Without its other rights root writes into its own folders alone. Of these one is in gamma's place.
        own = made.environ("code")
        home, state = own["DAGSTER_HOME"], own["APOLLO_STATE_DIR"]
        root.do("mkdir", "-p", home, f"{state}/tenants/gamma")
        try:
            made.start("code", prefix=root.like_the_code_host(), **secrets)
            made.wait_until(lambda: made.get("/locations", "code")[1].count('"ready": true') == 3, "all are served")
            yield made
        finally:
            made.kill()
            root.do("rm", "-r", home, state)


def test_the_code_host_has_the_two_capabilities_and_no_other(roles: Roles) -> None:
    status = Path(f"/proc/{roles.process('code').pid}/status").read_text()

    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(lines["CapEff"], 16) == int(lines["CapBnd"], 16) == 0xC0  # SETGID and SETUID


def test_each_tenant_is_a_user_without_rights(roles: Roles) -> None:
    users = {}
    for tenant in ("alpha", "beta"):
        process = roles.tenant_process(tenant)
        lines = Path(f"/proc/{process.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in lines
        assert "Groups:\t \n" in lines
        users[tenant] = process.uids().effective
        assert set(process.uids()) == set(process.gids()) == {users[tenant]}
    assert len(set(users.values())) == 2
    assert min(users.values()) >= 20_000


def test_a_process_knows_its_own_secret_and_no_others(roles: Roles) -> None:
    process = roles.tenant_process("alpha")
    state = Path(roles.environ("code")["APOLLO_STATE_DIR"])
    own = json.loads(roles.root.do("cat", str(state / "tenants" / "alpha" / "seen.json")))

    # It was told after it was forked: the system shows nothing of it, not even to its own user.
    assert "secret" not in roles.root.do("cat", f"/proc/{process.pid}/environ")
    assert roles.root.run("cat", f"/proc/{process.pid}/environ", user=process.uids().effective).returncode != 0
    assert own["ALPHA__API_TOKEN"] == own["API_TOKEN"] == "secret-of-alpha"
    told = "".join(own.values())
    for name in ("beta", "webserver", "deploys"):
        assert f"secret-of-{name}" not in told
    assert roles.tokens["front"] not in told


def test_the_front_is_a_user_without_rights_and_the_zygote_knows_nobodys_secret(roles: Roles) -> None:
    [front], [zygote] = roles.code_processes("front"), roles.code_processes("zygote")

    lines = Path(f"/proc/{front.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in lines
    assert set(front.uids()) == {UNPRIVILEGED_ID}
    for process in (front, zygote):
        assert "secret" not in roles.root.do("cat", f"/proc/{process.pid}/environ")
        assert roles.tokens["front"] not in " ".join(process.cmdline())


@pytest.mark.parametrize("method", ["GetServerId", "ListRepositories", "StartRun", "GetCurrentRuns", "CancelExecution"])
def test_the_front_answers_nobody_without_the_token(roles: Roles, method: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        roles.call_front(method, "beta", token="all")

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]


@pytest.mark.parametrize("what", PROGRAMS, ids=PROGRAMS)
def test_a_tenant_cannot_have(roles: Roles, what: str) -> None:
    own, neighbour = (roles.tenant_process(name) for name in ("alpha", "beta"))
    folder = Path(roles.environ("code")["APOLLO_STATE_DIR"]) / "tenants" / "beta"
    command = PROGRAMS[what].format(
        neighbour=neighbour.pid, host=roles.process("code").pid, folder=folder,
        front=roles.code_processes("front")[0].pid, zygote=roles.code_processes("zygote")[0].pid,
    )  # fmt: skip

    ended = roles.root.run("/bin/sh", "-c", command, user=own.uids().effective)

    assert ended.returncode != 0
    assert "ermi" in ended.stderr, ended.stderr  # "Permission denied", "Operation not permitted"
    assert neighbour.is_running()


def test_each_tenant_with_containers_has_a_channel_of_its_own(roles: Roles) -> None:
    state = Path(roles.environ("code")["APOLLO_STATE_DIR"])
    for tenant in ("alpha", "beta"):
        user = roles.tenant_process(tenant).uids().effective
        found = roles.root.do("stat", "--format", "%F %u %g %a", str(state / "containers" / f"{tenant}.sock"))
        assert found.split() == ["socket", "0", str(user), "660"]
        shared = roles.root.do("stat", "--format", "%F %u %g %a", str(state / "tenants" / tenant / "warehouse"))
        assert shared.split() == ["directory", "0", str(user), "770"]
    assert roles.root.run("ls", str(state / "containers" / "gamma.sock")).returncode != 0


def test_a_folder_that_is_somebody_elses_is_not_used_and_the_location_says_so(roles: Roles) -> None:
    said = roles.said("code")

    assert "gamma: cannot be served: " in said
    assert "tenants/gamma: belongs to somebody else than this tenant" in said
    assert "alpha: cannot be served" not in said


def test_what_is_asked_to_end_ends_although_it_is_another_users(roles: Roles) -> None:
    user, _ = [roles.tenant_process(name).uids().effective for name in ("alpha", "beta")]
    processes = roles.process("code").children(recursive=True)
    assert {process.name() for process in processes} >= {"alpha", "beta", "sleep"}
    # As another code host of this machine may have it, which gives a tenant of that name the same user.
    command = roles.root.as_user(user, "cat")
    with subprocess.Popen(command, cwd="/", stdin=subprocess.PIPE) as elsewhere:
        assert roles.stop("code") == 0
        assert [process.name() for process in processes if process.is_running()] == []
        assert elsewhere.poll() is None
    assert elsewhere.returncode == 0  # it has come to the end of what it was given
