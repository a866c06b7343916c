"""Deploys on the real container engine, by the fake Render: what `apollo deploy` does to running containers.

The Blueprint is this repository's, the image its Dockerfile's, and every deploy pulls it by digest from a registry. The
tests are steps of one story, in this order: each leaves the deployment as the next one finds it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from dagster_apollo.fork import load_fork
from dagster_apollo.projections.render_blueprint import render_blueprint
from dagster_apollo.warehouse.rotation import new_key_pair
from tests.support.container_engine import ContainerEngine
from tests.support.deployed_stack import TENANT, Credentials, DeployedStack
from tests.support.fake_render.app import PREFIX, FakeRender
from tests.support.fake_render.blueprint import apply
from tests.support.fake_render.command import Apollo, apollo_command
from tests.support.fake_render.engine import LABEL, Engine
from tests.support.fake_render.server import served
from tests.support.fake_render.world import World
from tests.support.images import REPOSITORY as CHECKOUT
from tests.support.images import built
from tests.support.ports import free_port
from tests.support.registry import Registry
from tests.support.webserver import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

WEB, DAEMON, CODE = "dagster-webserver", "dagster-daemon", "dagster-code"
API_KEY = "rnd_" + secrets.token_urlsafe(24)
PASSWORD = secrets.token_urlsafe(24)
OVERLAP_SECONDS = 8.0
QUICK = ("--poll-seconds", "1", "--settle-seconds", "12", "--smoke-minutes", "15", "--minutes", "15")
# What differs from the image under test, by the image's name.
DERIVED = {
    "first": "LABEL test=first",
    "second": "LABEL test=second",
    "broken": f"USER 0:0\nRUN echo 'nonsense: 1' >>/app/tenants/{TENANT}/tenant.yaml",
    "dead": 'ENTRYPOINT ["false"]',
}


@dataclass
class Story:
    """The deployment that the tests drive.

    Attributes:
        images: references by digest, by name.
    """

    fake: FakeRender
    backend: Engine
    stack: DeployedStack
    root: Path
    images: dict[str, str]
    key: Path
    settings: dict[str, str] = field(repr=False)

    @property
    def world(self) -> World:
        return self.fake.world

    def running(self) -> dict[str, str]:
        """Which image each service runs, by the image's name."""
        names = {reference.partition("@")[2]: name for name, reference in self.images.items()}
        return {s.name: names[s.running.sha] for s in self.world.services if s.running}


@pytest.fixture(scope="module")
def story(container_engine: ContainerEngine, registry: Registry, module_folder: Path) -> Iterator[Story]:
    name = f"apollo-render-{secrets.token_hex(3)}"
    repository = f"{registry.address}/acme/dagster-apollo"
    (module_folder / "tenants").symlink_to(CHECKOUT / "tenants")
    (module_folder / "apollo.toml").write_text(f'name = "acme"\nimage = "{repository}"\n')
    images = _pushed(container_engine, registry, repository)
    key = module_folder / "snowflake_key.p8"
    new_key_pair(key)
    credentials, port = Credentials(), free_port()
    url = f"http://127.0.0.1:{port}"
    backend = Engine(container_engine, name, port, overlap_seconds=OVERLAP_SECONDS, start_seconds=600)
    try:
        password = secrets.token_urlsafe(16)
        container_engine.docker(
            *("run", "--detach", "--network", backend.network, "--network-alias", "dagster-postgres"),
            *("--label", f"{LABEL}={name}", "--env", "POSTGRES_PASSWORD", "--env", "POSTGRES_USER=dagster"),
            *("--env", "POSTGRES_DB=dagster", "postgres:17"),
            environ={"POSTGRES_PASSWORD": password},
        )
        world = World(backend)
        fake = FakeRender(world, API_KEY)
        with served(fake):
            apply(
                world,
                render_blueprint(load_fork(module_folder)),
                images["first"],
                {"APOLLO_ACCESS": credentials.access_file()},
                {"dagster-postgres": f"postgresql://dagster:{password}@dagster-postgres:5432/dagster"},
                url,
            )
            backend.open_addresses(world.services)
            settings = {
                "RENDER_API_URL": f"{world.base_url}{PREFIX}",
                "RENDER_API_KEY": API_KEY,
                "APOLLO_TOKEN": credentials.token,
            }
            stack = DeployedStack(url, credentials)
            yield Story(fake, backend, stack, module_folder, images, key, settings)
            backend.wait()
    finally:
        backend.close()
        container_engine.run(["image", "rm", "--force", *(f"{repository}:{tag}" for tag in ("base", *DERIVED))])


def _pushed(engine: ContainerEngine, registry: Registry, repository: str) -> dict[str, str]:
    image = built(engine).full
    found = {}
    for tag, difference in DERIVED.items():
        named = f"{repository}:{tag}"
        # A name, since the engine's builder takes no id after FROM.
        engine.docker("tag", image, f"{repository}:base")
        engine.docker("build", "--quiet", "--tag", named, "-", stdin=f"FROM {repository}:base\n{difference}\n")
        engine.docker("push", "--quiet", named)
        found[tag] = f"{repository}@{registry.digest('acme/dagster-apollo', tag)}"
    return found


@pytest.fixture
def apollo(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    story: Story,
) -> Iterator[Apollo]:
    planted = [API_KEY, story.stack.credentials.token, PASSWORD, story.key.read_text()]
    with apollo_command(monkeypatch, capsys, caplog, story.root, story.settings, planted) as command:
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
    for service in story.world.services:
        story.world.new_deploy(service, story.images["first"], "blueprint_sync")

    wait_until(lambda: all(service.live() for service in story.world.services), "all services are live", 900)

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
