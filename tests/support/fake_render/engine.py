"""Deploys that are really deploys: the image is pulled and run on a container engine as Render runs it.

Pull, the command before the deploy, a second copy beside the first, its health, the traffic's move, then SIGTERM to the
old copy and SIGKILL when it does not go: https://render.com/docs/deploys. The defaults of times are Render's.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.container_engine import ContainerEngine
from tests.support.fake_render.proxy import Proxy
from tests.support.fake_render.world import FakeDeploy, FakeService, World, internal_name

LABEL = "fake-render"
_POLL_SECONDS = 0.5
_LISTENS = "0A"  # in /proc/net/tcp
_NOT_REACHABLE = (10000, 18012, 18013, 19099)  # https://render.com/docs/private-network


@dataclass
class Copy:
    """One container of a service.

    Attributes:
        deploy_id: the deploy that it is of.
        exit_code: how it ended: 137 is SIGKILL; None: it runs.
    """

    service: str
    deploy_id: str
    container: str
    address: str
    started: float
    taken_out: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    log: str = field(default="", repr=False)


class Engine:
    """A backend of containers.

    Args:
        engine: where they run.
        name: what its networks and containers begin with.
        public: the public port, for the web service.
        overlap_seconds: how long both copies run after the traffic has moved.
        start_seconds: within which a new copy must be healthy.
    """

    def __init__(
        self,
        engine: ContainerEngine,
        name: str,
        public: int,
        *,
        overlap_seconds: float = 60,
        start_seconds: float = 900,
    ) -> None:
        self._engine = engine
        self.network = f"{name}-net"
        self.name = name
        self._public = public
        self._overlap_seconds = overlap_seconds
        self._start_seconds = start_seconds
        self._proxies: dict[str, Proxy] = {}
        self._canceled: set[str] = set()
        self._closed = threading.Event()
        self._watchers: list[threading.Thread] = []
        self._threads: list[threading.Thread] = []
        self._once: dict[str, str] = {}
        self.copies: list[Copy] = []
        self.said: dict[str, str] = {}
        engine.docker("network", "create", "--label", f"{LABEL}={name}", self.network)
        found = json.loads(engine.docker("network", "inspect", self.network))
        self.gateway = str(found[0]["IPAM"]["Config"][0]["Gateway"])

    def close(self) -> None:
        """Remove all that it made on the engine."""
        self._closed.set()
        for watcher in self._watchers:
            watcher.join()
        for proxy in self._proxies.values():
            proxy.close()
        ids = self._engine.docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={self.name}").split()
        if ids:
            self._engine.docker("rm", "--force", "--volumes", *ids)
        self._engine.docker("network", "rm", self.network)

    def wait(self) -> None:
        """Wait until old copies are gone and nothing is under way."""
        for thread in list(self._threads):
            thread.join()

    def copies_of(self, service: str) -> list[Copy]:
        return [copy for copy in self.copies if copy.service == service]

    # ---- As the world asks. ----

    def begin(self, world: World, service: FakeService, deploy: FakeDeploy) -> None:
        self._start(lambda: self._deploy(world, service, deploy))

    def asked(self, world: World, service: FakeService, deploy: FakeDeploy) -> None:
        pass

    def cancel(self, world: World, service: FakeService, deploy: FakeDeploy) -> None:
        self._canceled.add(deploy.id)

    def restart(self, world: World, service: FakeService) -> None:
        running = service.running
        assert running is not None
        image = f"{service.repository}@{running.sha}"
        self._start(lambda: self._replace(service, "restart", image, running.environment) and None)

    def start_job(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        def run() -> None:
            running = service.running
            assert running is not None
            world.set_job_status(job, "running")
            image = f"{service.repository}@{running.sha}"
            code = self._run_once(service, image, running.environment, job["startCommand"], job["id"])
            world.set_job_status(job, "failed" if code else "succeeded")

        self._start(run)

    def end_job(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        if container := self._once.get(job["id"]):
            self._start(lambda: self._engine.run(["stop", "--time", "30", container]) and None)

    def job_asked(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        pass

    def _start(self, work: Any) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    # ---- A deploy. ----

    def _deploy(self, world: World, service: FakeService, deploy: FakeDeploy) -> None:
        def becomes(status: str) -> None:
            world.set_status(service, deploy, status)

        image = f"{service.repository}@{deploy.sha}"
        becomes("build_in_progress")
        if self._engine.run(["pull", "--quiet", image]).returncode:
            return becomes("build_failed")
        details = service.document["serviceDetails"]["envSpecificDetails"]
        if command := details.get("preDeployCommand"):
            becomes("pre_deploy_in_progress")
            if self._run_once(service, image, deploy.environment, command, deploy.id):
                return becomes("pre_deploy_failed")
        becomes("update_in_progress")
        live = self._replace(service, deploy.id, image, deploy.environment, becomes)
        return None if live else becomes("update_failed")

    def _replace(
        self,
        service: FakeService,
        deploy_id: str,
        image: str,
        environment: dict[str, str],
        becomes: Any = lambda _: None,
    ) -> bool:
        """A new copy, the traffic to it once it is well, and the old one's end."""
        old = [copy for copy in self.copies_of(service.name) if copy.taken_out is None]
        new = self._run_copy(service, deploy_id, image, environment)
        if not self._becomes_healthy(service, new):
            self._end(new, seconds=10)
            return False
        self.copies.append(new)
        self._proxy(service).switch(new.address)
        for copy in old:
            copy.taken_out = time.monotonic()
        becomes("live")
        if service.document["type"] == "private_service":
            watcher = threading.Thread(target=lambda: self._open_ports(service, new), daemon=True)
            self._watchers.append(watcher)
            watcher.start()
        time.sleep(self._overlap_seconds)
        for copy in old:
            self._end(copy, seconds=int(service.document["serviceDetails"]["maxShutdownDelaySeconds"]))
        return True

    def _run_copy(self, service: FakeService, deploy_id: str, image: str, environment: dict[str, str]) -> Copy:
        command = shlex.split(service.document["serviceDetails"]["envSpecificDetails"]["dockerCommand"])
        container = self._docker_run(service, environment, "--detach", image=image, command=command)
        found = json.loads(self._engine.docker("inspect", container))[0]
        address = str(found["NetworkSettings"]["Networks"][self.network]["IPAddress"])
        return Copy(service.name, deploy_id, container, address, time.monotonic())

    def _run_once(self, service: FakeService, image: str, environment: dict[str, str], command: str, label: str) -> int:
        container = self._docker_run(service, environment, "--detach", image=image, command=shlex.split(command))
        self._once[label] = container
        code = int(self._engine.docker("wait", container, timeout_seconds=1800))
        self.said[label] = self._log(container)
        self._engine.docker("rm", container)
        return code

    def _docker_run(
        self, service: FakeService, environment: dict[str, str], *options: str, image: str, command: list[str]
    ) -> str:
        everything = {"PORT": "10000", **self._of_render(service), **environment}
        names = [word for name in everything for word in ("--env", name)]  # values stand in no argument
        hosts = [f"--add-host={internal_name(name)}:{self.gateway}" for name in self._proxies if name != service.name]
        labels = ["--label", f"{LABEL}={self.name}"]
        words = ["run", *options, *labels, "--network", self.network, *hosts, *names, image, *command]
        return self._engine.docker(*words, environ=everything)

    def _of_render(self, service: FakeService) -> dict[str, str]:
        """https://render.com/docs/environment-variables."""
        url = str(service.document["serviceDetails"].get("url", ""))
        public = {"RENDER_EXTERNAL_URL": url} if service.document["type"] == "web_service" else {}
        return {"RENDER": "true", "RENDER_SERVICE_ID": service.id, "RENDER_SERVICE_NAME": service.name, **public}

    def open_addresses(self, services: list[FakeService]) -> None:
        """Give every service that can be reached its address, before anything is deployed."""
        for service in services:
            self._proxy(service)

    def _proxy(self, service: FakeService) -> Proxy:
        if service.name not in self._proxies:
            if service.document["type"] == "web_service":
                self._proxies[service.name] = Proxy("127.0.0.1")
                self._proxies[service.name].open(self._public, int(service.variables.get("PORT", "10000")))
            else:
                self._proxies[service.name] = Proxy(self.gateway)
        return self._proxies[service.name]

    def _open_ports(self, service: FakeService, copy: Copy) -> None:
        """What a private service listens on is reachable, also what it opens later."""
        while copy.taken_out is None and not self._closed.is_set():
            done = self._engine.run(["exec", copy.container, "cat", "/proc/net/tcp", "/proc/net/tcp6"])
            for line in done.stdout.splitlines():
                words = line.split()
                if len(words) > 3 and words[3] == _LISTENS and set(words[1].partition(":")[0]) == {"0"}:
                    port = int(words[1].partition(":")[2], 16)
                    if port not in _NOT_REACHABLE:
                        self._proxy(service).open(port, port)
            self._closed.wait(_POLL_SECONDS * 2)

    # ---- Health and end. ----

    def _becomes_healthy(self, service: FakeService, copy: Copy) -> bool:
        deadline = time.monotonic() + self._start_seconds
        while time.monotonic() < deadline:
            if copy.deploy_id in self._canceled or not self._runs(copy):
                return False
            if self._is_healthy(service, copy):
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _is_healthy(self, service: FakeService, copy: Copy) -> bool:
        port = int(service.variables.get("PORT", "10000"))
        match service.document["type"]:
            case "web_service":
                path = service.document["serviceDetails"]["healthCheckPath"]
                with contextlib.suppress(httpx.HTTPError):
                    answer = httpx.get(f"http://{copy.address}:{port}{path}", timeout=5, trust_env=False)
                    return 200 <= answer.status_code < 400
                return False
            case "private_service":
                with contextlib.suppress(OSError), socket.create_connection((copy.address, port), 5):
                    return True
                return False
            case _:
                return time.monotonic() - copy.started > 2

    def _runs(self, copy: Copy) -> bool:
        return self._engine.docker("inspect", "--format", "{{.State.Running}}", copy.container) == "true"

    def _end(self, copy: Copy, *, seconds: int) -> None:
        self._engine.docker("stop", "--time", str(seconds), copy.container, timeout_seconds=seconds + 60)
        copy.ended = time.monotonic()
        copy.exit_code = int(self._engine.docker("inspect", "--format", "{{.State.ExitCode}}", copy.container))
        copy.log = self.said[copy.deploy_id] = self._log(copy.container)
        self._engine.docker("rm", "--force", "--volumes", copy.container)

    def _log(self, container: str) -> str:
        done = self._engine.run(["logs", container])
        return done.stdout + done.stderr
