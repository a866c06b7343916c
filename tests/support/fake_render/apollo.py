"""This project as the fake Render has it: its three services, live, and a webserver that answers `/status`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.fake_render.app import FakeRender
from tests.support.fake_render.scripted import Scripted
from tests.support.fake_render.server import served
from tests.support.fake_render.world import FakeService, World

REPOSITORY = "ghcr.io/acme/dagster-apollo"
SERVICES = ("dagster-webserver", "dagster-daemon", "dagster-code")


def digest(name: str) -> str:
    """A digest that is always the same for a name."""
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


def image(name: str) -> str:
    return f"{REPOSITORY}@{digest(name)}"


@dataclass
class Site:
    """What the webserver says of a deployment, from what its services run.

    Attributes:
        token: the one that is good.
        locations: each, and the variable that it needs of the code host; None: none.
        broken: by a code host's digest, the locations that do not load with it.
        ill: by any service's digest, the parts that are not well with it.
        versions: by digest, what it calls itself.
        open: strangers are let in.
    """

    token: str
    locations: dict[str, str | None] = field(default_factory=lambda: {"whisky": None, "riksdag": None})
    broken: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ill: dict[str, tuple[str, ...]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    open: bool = False

    def answer(self, running: Mapping[str, Any], token: str | None) -> tuple[int, Any]:
        if token != self.token and not (self.open and token is None):
            return 401, {"error": "log in"}
        webserver, daemon, code = (running[name] for name in SERVICES)
        shas = {service.sha for service in (webserver, daemon, code)}
        ill = {part for sha in shas for part in self.ill.get(sha, ())}
        locations = {name: self._location(name, needs, code) for name, needs in self.locations.items()}
        red = [{"where": name, "what": "is ill", "remedy": "", "severity": "error"} for name in sorted(ill)]
        red += [
            {"where": f"location {name}", "what": f"does not load: {row['error']}", "remedy": "", "severity": "error"}
            for name, row in locations.items()
            if not row["loaded"]
        ]
        content: dict[str, Any] = {
            "ok": not red,
            "reasons": red,
            "version": self.versions.get(webserver.sha, "0.1.0"),
            "database": {"ok": "database" not in ill},
            "daemon": {"ok": "daemon" not in ill, "heartbeats": {}},
            "code": {"ok": "code host" not in ill, "version": self.versions.get(code.sha, "0.1.0")},
            "schedules": {},
            "locations": locations,
        }
        return (503 if red else 200), content

    def _location(self, name: str, needs: str | None, code: Any) -> dict[str, Any]:
        if name in self.broken.get(code.sha, ()):
            return {"loaded": False, "error": f"{name} is broken\nin this version"}
        if needs and needs not in code.environment:
            return {"loaded": False, "error": f"{needs} is not set"}
        return {"loaded": True, "error": None}


@dataclass
class Deployment:
    """The fake, its script, and what the site says."""

    fake: FakeRender
    script: Scripted
    site: Site

    @property
    def world(self) -> World:
        return self.fake.world

    def service(self, name: str) -> FakeService:
        return self.world.service(name)

    def live(self) -> dict[str, str | None]:
        """What each service runs: the digest."""
        return {name: running.sha if (running := self.service(name).running) else None for name in SERVICES}

    def configured(self) -> dict[str, str]:
        """What each service's restart would run."""
        return {name: str(self.service(name).document["imagePath"]) for name in SERVICES}

    def deploys_of(self, name: str) -> list[str]:
        """The digests of a service's deploys that were asked for, the oldest first."""
        return [deploy.sha for deploy in self.service(name).deploys]


@contextmanager
def deployed(
    api_key: str,
    token: str,
    *,
    overlap: Literal["wait", "override"] = "wait",
    tells_queued: bool = True,
    first: str | None = "old",
) -> Iterator[Deployment]:
    """The project on a fake Render, live on the image `first`."""
    script, site = Scripted(), Site(token)
    world = World(script, overlap=overlap, tells_queued=tells_queued)
    fake = FakeRender(world, api_key, lambda given: site.answer(_running(world), given))
    with served(fake):
        configured = image(first or "old")
        world.add_service(
            "dagster-webserver",
            "web_service",
            configured,
            command="webserver",
            pre_deploy="apollo migrate",
            health_check="/livez",
        )
        world.add_service("dagster-daemon", "background_worker", configured, command="daemon")
        world.add_service("dagster-code", "private_service", configured, command="code", plan="standard")
        if first:
            for name in SERVICES:
                service = world.service(name)
                world.set_status(service, world.new_deploy(service, configured, "blueprint_sync"), "live")
        yield Deployment(fake, script, site)


def _running(world: World) -> dict[str, Any]:
    return {name: world.service(name).running for name in SERVICES}
