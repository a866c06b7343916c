"""Deploys on the real container engine, by the fake Render: what `apollo deploy` does to running containers.

The Blueprint is this repository's, the image its Dockerfile's, and every deploy pulls it by digest from a registry. The
tests are steps of one story, in this order: each leaves the deployment as the next one finds it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from dagster_apollo.warehouse.rotation import new_key_pair
from tests.support.container_engine import ContainerEngine
from tests.support.deployed_stack import TENANT, DeployedStack
from tests.support.fake_render.command import Apollo, apollo_command
from tests.support.fake_render.deployment import API_KEY, CODE, DAEMON, QUICK, WEB, Deployment, deployed
from tests.support.fake_render.engine import Engine
from tests.support.fake_render.world import World
from tests.support.images import REPOSITORY as CHECKOUT
from tests.support.registry import Registry
from tests.support.webserver import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

PASSWORD = secrets.token_urlsafe(24)
OVERLAP_SECONDS = 8.0
# What differs from the image under test, by the image's name.
DERIVED = {
    "first": "LABEL test=first",
    "second": "LABEL test=second",
    "broken": f"USER 0:0\nRUN echo 'nonsense: 1' >>/app/tenants/{TENANT}/tenant.yaml",
    "dead": 'ENTRYPOINT ["false"]',
}


@dataclass(frozen=True)
class Story:
    """The deployment that the tests drive, and a tenant's private key."""

    deployment: Deployment
    key: Path

    @property
    def world(self) -> World:
        return self.deployment.world

    @property
    def backend(self) -> Engine:
        return self.deployment.backend

    @property
    def stack(self) -> DeployedStack:
        return self.deployment.stack

    @property
    def images(self) -> Mapping[str, str]:
        return self.deployment.images

    def running(self) -> dict[str, str]:
        """Which image each service runs, by the image's name."""
        return self.deployment.running()


@pytest.fixture(scope="module")
def story(container_engine: ContainerEngine, registry: Registry, module_folder: Path) -> Iterator[Story]:
    (module_folder / "tenants").symlink_to(CHECKOUT / "tenants")
    key = module_folder / "snowflake_key.p8"
    new_key_pair(key)
    with deployed(container_engine, registry, module_folder, DERIVED, overlap_seconds=OVERLAP_SECONDS) as deployment:
        yield Story(deployment, key)


@pytest.fixture
def apollo(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    story: Story,
) -> Iterator[Apollo]:
    planted = [API_KEY, story.stack.credentials.token, PASSWORD, story.key.read_text()]
    root, settings = story.deployment.root, story.deployment.settings
    with apollo_command(monkeypatch, capsys, caplog, root, settings, planted) as command:
        yield command


def _error(story: Story) -> str:
    _, content = story.stack.status()
    return str(content["locations"].get(TENANT, {}).get("error"))


class Visitor:
    """Somebody who asks all the time whether the webserver lives."""

    def __init__(self, address: str) -> None:
        self.answers: list[int] = []
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(httpx.get(f"{self._address}/livez", timeout=10, trust_env=False).status_code)
            except httpx.HTTPError:
                self.answers.append(0)
            time.sleep(0.2)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_the_blueprints_services_come_up_on_the_engine(story: Story) -> None:
    story.deployment.bring_up("first")

    assert set(story.running().values()) == {"first"}
    story.stack.wait_until_it_serves()
    story.stack.assert_strangers_are_refused()
    assert "dead" not in story.backend.said


def test_a_tenant_whose_secrets_are_missing_says_which_and_a_push_brings_them(story: Story, apollo: Apollo) -> None:
    wait_until(lambda: "SNOWFLAKE_USER" in _error(story), f"{TENANT} says which setting is missing", 300)
    given = {
        "SNOWFLAKE_ACCOUNT": "acme-one",
        "SNOWFLAKE_USER": "DBT",
        "SNOWFLAKE_ROLE": "DBT",
        "SNOWFLAKE_WAREHOUSE": "DBT",
        "SNOWFLAKE_DATABASE": "ANALYTICS",
        "SNOWFLAKE_PRIVATE_KEY_PATH": str(story.key),
        "DBT_WILLIAMGRANT__ERP_PASSWORD": PASSWORD,
    }

    said = apollo("secrets", "push", "--tenant", TENANT, *QUICK, **given)

    assert said.code == 0, said.all
    story.stack.wait_until_it_serves(TENANT)
    assert story.world.service(CODE).running.environment["DBT_WILLIAMGRANT__ERP_PASSWORD"] == PASSWORD
    for other in (WEB, DAEMON):
        assert not {"SNOWFLAKE_PRIVATE_KEY_B64", "DBT_WILLIAMGRANT__ERP_PASSWORD"} & set(
            story.world.service(other).running.environment
        )


def test_a_deploy_replaces_every_service_and_nobody_notices(story: Story, apollo: Apollo) -> None:
    with Visitor(story.stack.address) as visitor:
        said = apollo("deploy", "--image", story.images["second"], *QUICK)
        story.backend.wait()

    assert said.code == 0, said.all
    assert story.running() == dict.fromkeys((WEB, DAEMON, CODE), "second")
    assert set(visitor.answers) == {200}
    for name in (WEB, DAEMON, CODE):
        *_, old, new = story.backend.copies_of(name)
        assert old.ended - new.started > OVERLAP_SECONDS, "both ran for a while"
        assert old.exit_code == 0, f"{name} was not ended by SIGTERM:\n{old.log[-3000:]}"
    assert {s.document["imagePath"] for s in story.world.services} == {story.images["second"]}


def test_a_deploy_that_breaks_a_location_is_rolled_back(story: Story, apollo: Apollo) -> None:
    story.stack.wait_until_it_serves(TENANT)  # the copies of the last deploy may just be going

    said = apollo("deploy", "--image", story.images["broken"], "--changed", "tenants", *QUICK, "--smoke-minutes", "0.5")

    assert said.code == 4, said.all
    assert f"location {TENANT}: does not load" in said.err
    assert story.running() == dict.fromkeys((WEB, DAEMON, CODE), "second")
    story.stack.wait_until_it_serves(TENANT)


def test_an_image_that_does_not_start_never_goes_live(story: Story, apollo: Apollo) -> None:
    said = apollo("deploy", "--image", story.images["dead"], *QUICK)

    assert said.code == 3, said.all
    assert "`apollo migrate`, failed" in said.err
    assert story.running() == dict.fromkeys((WEB, DAEMON, CODE), "second")
    assert story.stack.wait_until_it_serves(TENANT)


def test_a_restart_after_all_that_brings_back_what_is_live(story: Story) -> None:
    for service in story.world.services:
        story.world.restart(service)
    story.backend.wait()

    assert story.running() == dict.fromkeys((WEB, DAEMON, CODE), "second")
    story.stack.wait_until_it_serves(TENANT)
