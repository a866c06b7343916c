"""This repository's Blueprint as a running deployment: the fake Render's services on the engine, and Postgres.

Images are derived from the one under test and pulled by digest from a registry of the test's own. What a story then
does to the deployment is its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from dagster_apollo.fork import load_fork
from dagster_apollo.projections.render_blueprint import render_blueprint
from tests.support.container_engine import ContainerEngine
from tests.support.deployed_stack import Credentials, DeployedStack
from tests.support.fake_render.app import PREFIX, FakeRender
from tests.support.fake_render.blueprint import apply
from tests.support.fake_render.engine import LABEL, Engine
from tests.support.fake_render.server import served
from tests.support.fake_render.world import World
from tests.support.images import built
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.registry import Registry
from tests.support.webserver import wait_until

WEB, DAEMON, CODE = "dagster-webserver", "dagster-daemon", "dagster-code"
DATABASE = "dagster-postgres"
API_KEY = "rnd_" + secrets.token_urlsafe(24)
_PATH = "acme/dagster-apollo"
# A deployment of tests need not last: what shortens `apollo deploy` to what it has to see.
QUICK = ("--poll-seconds", "1", "--settle-seconds", "12", "--smoke-minutes", "15", "--minutes", "15")


@dataclass
class Deployment:
    """A deployment.

    Attributes:
        root: the fork's folder, with its `apollo.toml` and its tenants.
        images: references by digest, by name.
        postgres: the database server, as the test reaches it.
        settings: what `apollo` is given to reach the fake Render and the webserver.
    """

    fake: FakeRender
    backend: Engine
    stack: DeployedStack
    root: Path
    images: Mapping[str, str]
    postgres: Postgres
    settings: dict[str, str] = field(repr=False)

    @property
    def world(self) -> World:
        return self.fake.world

    def running(self) -> dict[str, str]:
        """Which image each service runs, by the image's name."""
        names = {reference.partition("@")[2]: name for name, reference in self.images.items()}
        return {s.name: names[s.running.sha] for s in self.world.services if s.running}

    def bring_up(self, image: str) -> None:
        """Deploy every service for the first time, as the Blueprint's first sync does."""
        for service in self.world.services:
            self.world.new_deploy(service, self.images[image], "blueprint_sync")
        wait_until(lambda: all(service.live() for service in self.world.services), "all services are live", 900)

    def give_tenants(self, variables: Mapping[str, str]) -> None:
        """Put variables into the tenants' environment group: the next deploy has them."""
        [group] = self.world.groups
        group["envVars"] += [self.world.variable({"key": name, "value": text}) for name, text in variables.items()]

    def url_of(self, database: Postgres) -> str:
        """A database's address inside the private network."""
        return f"postgresql://{database.user}:{database.password}@{DATABASE}:5432/{database.database}"


@contextmanager
def deployed(
    engine: ContainerEngine,
    registry: Registry,
    root: Path,
    derived: Mapping[str, str],
    *,
    overlap_seconds: float,
) -> Iterator[Deployment]:
    """Postgres and the Blueprint's services, none of them deployed yet; all is gone afterwards.

    Args:
        engine: where it runs.
        registry: where its images are.
        root: with its tenants; `apollo.toml` is written.
        derived: what differs from the image under test, as lines of a Dockerfile with `root` as its context, by name.
        overlap_seconds: how long old and new run side by side.
    """
    name, repository = f"apollo-render-{secrets.token_hex(3)}", f"{registry.address}/{_PATH}"
    (root / "apollo.toml").write_text(f'name = "acme"\nimage = "{repository}"\n')
    credentials, port, database_port = Credentials(), free_port(), free_port()
    backend = Engine(engine, name, port, overlap_seconds=overlap_seconds, start_seconds=600)
    try:
        images = _pushed(engine, registry, repository, root, derived)
        postgres = Postgres(database_port, password=secrets.token_urlsafe(16), database="dagster")
        engine.docker(
            *("run", "--detach", "--network", backend.network, "--network-alias", DATABASE),
            *("--publish", f"127.0.0.1:{database_port}:5432"),
            *("--label", f"{LABEL}={name}", "--env", "POSTGRES_PASSWORD", "--env", f"POSTGRES_USER={postgres.user}"),
            *("--env", f"POSTGRES_DB={postgres.database}", "postgres:17"),
            environ={"POSTGRES_PASSWORD": postgres.password},
        )
        wait_until(lambda: _answers(postgres), "Postgres answers", 60)
        world = World(backend)
        fake = FakeRender(world, API_KEY)
        with served(fake):
            url = f"http://127.0.0.1:{port}"
            settings = {
                "RENDER_API_URL": f"{world.base_url}{PREFIX}",
                "RENDER_API_KEY": API_KEY,
                "APOLLO_TOKEN": credentials.token,
            }
            found = Deployment(fake, backend, DeployedStack(url, credentials), root, images, postgres, settings)
            apply(
                world,
                render_blueprint(load_fork(root)),
                next(iter(images.values())),
                {"APOLLO_ACCESS": credentials.access_file()},
                {DATABASE: found.url_of(postgres)},
                url,
            )
            backend.open_addresses(world.services)
            yield found
            backend.wait()
    finally:
        backend.close()
        engine.run(["image", "rm", "--force", *(f"{repository}:{tag}" for tag in ("base", *derived))])


def _answers(postgres: Postgres) -> bool:
    try:
        return postgres.rows("select 1") == [(1,)]
    except psycopg2.OperationalError:
        return False


def _pushed(
    engine: ContainerEngine, registry: Registry, repository: str, context: Path, derived: Mapping[str, str]
) -> dict[str, str]:
    with built(engine) as images:
        # A name, since the engine's builder takes no id after FROM.
        engine.docker("tag", images.full, f"{repository}:base")
    found = {}
    for tag, difference in derived.items():
        named = f"{repository}:{tag}"
        words = ("build", "--quiet", "--tag", named, "--file", "-", str(context))
        engine.docker(*words, stdin=f"FROM {repository}:base\n{difference}\n")
        engine.docker("push", "--quiet", named)
        found[tag] = f"{repository}@{registry.digest(_PATH, tag)}"
    return found
