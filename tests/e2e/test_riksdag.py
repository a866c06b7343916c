"""The tenant `riksdag` as a person has it: its image made, its assets built from the UI, each run in a container."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.container_engine import ContainerEngine
from tests.support.containers import Containers
from tests.support.stack import COMMAND, Stack, StartStack, bare_environment
from tests.support.tenant_folders import TenantFolders, failures
from tests.support.tenant_images import copy_tenant, image_of, make_images
from tests.support.webserver import wait_until

pytestmark = pytest.mark.slow

SEEDS = {f"riksdag/raw/{name}" for name in ("personlista", "dokumentlista", "voteringlista")}
STAGING = {f"riksdag/staging/stg_{name}" for name in ("personlista", "dokumentlista", "voteringlista")}
MARTS = {f"riksdag/marts/{name}" for name in ("votes_by_party", "members_by_constituency", "documents_by_organ")}
# Goes on until it is interrupted.
ENDLESS = "select sum(a.range * b.range) as x from range(10000000) as a, range(10000000) as b"
TERMINATE = """mutation($id: String!) { terminateRun(runId: $id) { __typename } }"""


@dataclass(frozen=True)
class Parliament:
    """`apollo dev` with this tenant alone.

    Attributes:
        stack: it.
        tenants: its folder, a copy.
        image: its image, a test's own.
        containers: those that its runs start.
    """

    stack: Stack
    tenants: TenantFolders
    image: str
    containers: Containers

    def materialize(self, *assets: str) -> str:
        return self.stack.webserver.materialize("riksdag", sorted(assets))

    def failure_of(self, *assets: str) -> str:
        """What a run that fails says."""
        run_id = self.materialize(*assets)
        assert self.stack.webserver.wait_for_run(run_id)["status"] == "FAILURE"
        assert self.containers.left() == []
        return self.stack.webserver.failure(run_id)


@pytest.fixture(scope="module")
def parliament(
    module_folder: Path, container_engine: ContainerEngine, start_shared_stack: StartStack
) -> Iterator[Parliament]:
    tenants = TenantFolders(module_folder, **container_engine.environ)
    image = f"apollo-test-{uuid.uuid4().hex[:8]}:1"
    folder = copy_tenant(tenants, "riksdag", image=image)
    (folder / "models/marts/endless.sql").write_text(f"{ENDLESS} -- {{{{ ref('stg_personlista') }}}}\n")
    environ = bare_environment(module_folder, APOLLO_TENANTS_DIR=str(tenants.tenants_dir), **container_engine.environ)
    with image_of(tenants, container_engine, "riksdag", image):
        stack = start_shared_stack({**environ, "TENANTS": "riksdag"}, command=[*COMMAND, "--no-build"])
        containers = Containers(container_engine, "riksdag", module_folder)
        yield Parliament(stack.wait_until_ready(), tenants, image, containers)
        stack.stop()
        wait_until(lambda: containers.running() == [], "the containers end with the stack")
        containers.remove()


def test_everything_is_built_in_a_container_and_shown_as_of_any_tenant(parliament: Parliament) -> None:
    webserver = parliament.stack.webserver
    run_id = parliament.materialize(*SEEDS, *STAGING, *MARTS)
    wait_until(
        lambda: parliament.containers.running() or webserver.run(run_id)["status"] == "FAILURE", "a container runs"
    )
    webserver.finish(run_id)

    assert webserver.built(run_id) == SEEDS | STAGING | MARTS
    assert parliament.containers.left() == []
    assert parliament.tenants.rows("riksdag", "select sum(members) from marts.members_by_constituency") == [(349,)]
    assert parliament.tenants.rows("riksdag", "select count(distinct vote_id) from marts.votes_by_party") == [(16,)]
    assets = webserver.assets("riksdag")
    assert "compiled_sql" in str(assets["riksdag/marts/votes_by_party"])


def test_one_asset_is_built_with_what_follows_it(parliament: Parliament) -> None:
    followers = {"riksdag/marts/votes_by_party", "riksdag/marts/members_by_constituency"}
    run_id = parliament.materialize("riksdag/staging/stg_personlista", *followers)
    parliament.stack.webserver.finish(run_id)

    assert parliament.stack.webserver.built(run_id) == {"riksdag/staging/stg_personlista", *followers}


def test_a_run_that_is_stopped_stops_its_container(parliament: Parliament) -> None:
    run_id = parliament.materialize("riksdag/marts/endless")
    wait_until(parliament.containers.running, "the container runs")
    parliament.stack.webserver.ask(TERMINATE, id=run_id)

    assert parliament.stack.webserver.wait_for_run(run_id)["status"] == "CANCELED"
    wait_until(lambda: parliament.containers.left() == [], "nothing of it is left")


def test_a_model_that_changed_since_the_image_was_made_is_not_built_from_the_old_one(parliament: Parliament) -> None:
    file = parliament.tenants.tenants_dir / "riksdag/models/marts/members_by_constituency.sql"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("count(*) as members,", "count(*) as members, 1 as one,"), encoding="utf-8")

    told = parliament.failure_of("riksdag/marts/members_by_constituency")
    assert f"{parliament.image}: was built from other files than those beside tenants/riksdag/tenant.yaml" in told
    assert "Build it again: `make images`." in told

    make_images(parliament.tenants, parliament.containers.engine, "riksdag")
    parliament.stack.webserver.finish(parliament.materialize("riksdag/marts/members_by_constituency"))
    assert parliament.tenants.rows("riksdag", "select distinct one from marts.members_by_constituency") == [(1,)]


def test_dbt_by_hand_runs_in_the_container_too(parliament: Parliament) -> None:
    words = ("dbt", "riksdag", "--", "run", "--select", "stg_dokumentlista")
    ended = parliament.tenants.apollo(*words)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "OK created sql view model staging.stg_dokumentlista" in ended.stdout
    artifacts = parliament.tenants.state_dir / "tenants/riksdag/by_hand"
    assert (artifacts / "run_results.json").exists()
    assert parliament.containers.left() == []


def test_an_image_that_is_gone_is_named_with_the_command_that_makes_it(parliament: Parliament) -> None:
    parliament.containers.engine.docker("image", "rm", "--force", parliament.image)

    told = parliament.failure_of("riksdag/marts/documents_by_organ")

    assert f"{parliament.image}: there is no such image on the container engine" in told
    assert "Build it: `make images`." in told


def test_without_an_engine_the_run_says_so_and_the_native_mode_builds_the_same(folder: Path) -> None:
    tenants = TenantFolders(folder, DOCKER_HOST=f"unix://{folder}/nothing.sock")
    copy_tenant(tenants, "riksdag")

    run = tenants.build("riksdag")
    assert not run.success
    assert "the container engine does not answer" in failures(run)
    assert "Or run natively: RIKSDAG__APOLLO_EXECUTION=process." in failures(run)

    assert tenants.build("riksdag", RIKSDAG__APOLLO_EXECUTION="process").success
    assert tenants.rows("riksdag", "select sum(documents) from marts.documents_by_organ") == [(600,)]
