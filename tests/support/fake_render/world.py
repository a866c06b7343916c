"""What the fake Render holds and how it changes: services, deploys, one-off jobs, environment groups.

Facts are Render's API description and documentation; where those are silent, the comment says what is assumed. What a
deploy does to containers is a `Backend`: scripted in `scripted.py`, real ones in `engine.py`.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

ENDED = ("live", "build_failed", "pre_deploy_failed", "update_failed", "canceled", "deactivated")
OWNER = "tea-0fake00000render0000"
_LETTERS = "0123456789abcdefghijklmnopqrstuv"
_SHORT_TYPES = {"web_service": "web", "private_service": "pserv", "background_worker": "worker"}


def repository_of(reference: str) -> str:
    """An image's registry and path."""
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def internal_name(service_name: str) -> str:
    """Under which a service is found in the private network: its name alone is not."""
    return f"{service_name}-fake"


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass
class FakeDeploy:
    """A deploy, with what it was begun with.

    Attributes:
        document: as the API tells it.
        reference: the image that it is of.
        environment: the variables as they were when it was begun.
        listed: whether the API tells of it already.
    """

    document: dict[str, Any]
    reference: str
    environment: dict[str, str]
    listed: bool = True

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def status(self) -> str:
        return str(self.document["status"])

    @property
    def sha(self) -> str:
        return str(self.document["image"]["sha"])


@dataclass
class Running:
    """What a service's containers are: an image's digest, and the variables that they were started with."""

    sha: str
    environment: dict[str, str]


@dataclass
class FakeService:
    """A service, with what the API does not tell.

    Attributes:
        document: as the API tells it.
        hook_key: what its deploy hook ends with.
        variables: its own; groups' come on top.
        deploys: the oldest first.
        running: what is up; None before the first deploy.
    """

    document: dict[str, Any]
    hook_key: str
    variables: dict[str, str] = field(default_factory=dict)
    deploys: list[FakeDeploy] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    running: Running | None = None
    restarts: int = 0

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def name(self) -> str:
        return str(self.document["name"])

    @property
    def repository(self) -> str:
        return repository_of(str(self.document["imagePath"]))

    def live(self) -> FakeDeploy | None:
        return next((deploy for deploy in reversed(self.deploys) if deploy.status == "live"), None)

    def busy(self) -> FakeDeploy | None:
        return next((d for d in self.deploys if d.status not in (*ENDED, "queued")), None)


class Backend(Protocol):
    """What happens to a deploy that was begun."""

    def begin(self, world: World, service: FakeService, deploy: FakeDeploy) -> None:
        """A deploy's turn has come."""

    def asked(self, world: World, service: FakeService, deploy: FakeDeploy) -> None:
        """Somebody wants to know how far a deploy is."""

    def cancel(self, world: World, service: FakeService, deploy: FakeDeploy) -> None:
        """Somebody has canceled it."""

    def restart(self, world: World, service: FakeService) -> None:
        """The service is started anew as `service.running` says."""

    def start_job(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        """A one-off job was made."""

    def job_asked(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        """Somebody wants to know how far a job is."""

    def end_job(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        """Somebody has canceled a job; its process is told to end."""


class World:
    """All that the fake holds.

    Args:
        backend: what deploys do.
        overlap: what happens to a deploy that comes while another is under way: Render's policies of a workspace.
        tells_queued: whether a queued deploy is in the list before its turn; Render's documents leave it open.
    """

    def __init__(
        self, backend: Backend, *, overlap: Literal["wait", "override"] = "wait", tells_queued: bool = True
    ) -> None:
        self.backend = backend
        self.overlap = overlap
        self.tells_queued = tells_queued
        self.lock = threading.RLock()
        self.services: list[FakeService] = []
        self.groups: list[dict[str, Any]] = []
        self.tags: dict[str, str] = {}
        self.base_url = "http://127.0.0.1"
        self._numbers = itertools.count(1)

    # ---- Made. ----

    def new_id(self, kind: str) -> str:
        seed = hashlib.sha256(f"{kind}{next(self._numbers)}".encode()).digest()
        return f"{kind}-" + "".join(_LETTERS[byte % 32] for byte in seed[:20])

    def moment(self) -> str:
        """Now, and later than every moment before."""
        return (datetime.now(UTC) + timedelta(microseconds=next(self._numbers))).isoformat().replace("+00:00", "Z")

    def add_service(
        self,
        name: str,
        kind: Literal["web_service", "private_service", "background_worker"],
        image: str,
        *,
        region: str = "frankfurt",
        plan: str = "starter",
        command: str = "",
        pre_deploy: str = "",
        health_check: str = "",
        shutdown_seconds: int = 30,
        variables: dict[str, str] | None = None,
    ) -> FakeService:
        """A service as a Blueprint makes it; its first deploy is begun by `first_deploy`."""
        docker = {"dockerCommand": command, "dockerContext": "", "dockerfilePath": ""}
        details: dict[str, Any] = {
            "env": "image",
            "runtime": "image",
            "envSpecificDetails": {**docker, **({"preDeployCommand": pre_deploy} if pre_deploy else {})},
            "plan": plan,
            "region": region,
            "numInstances": 1,
            "buildPlan": "starter",
            "maxShutdownDelaySeconds": shutdown_seconds,
        }
        if kind == "web_service":
            details |= {"healthCheckPath": health_check, "openPorts": [], "url": f"{self.base_url}/site/{name}"}
        if kind == "private_service":
            details |= {"openPorts": [], "url": f"http://{internal_name(name)}:4000"}
        document = {
            "id": self.new_id("srv"),
            "name": name,
            "ownerId": OWNER,
            "type": kind,
            "createdAt": self.moment(),
            "updatedAt": self.moment(),
            "dashboardUrl": f"{self.base_url}/this-is-a-fake-render/{name}",
            "suspended": "not_suspended",
            "suspenders": [],
            "autoDeploy": "no",
            "notifyOnFail": "default",
            "slug": internal_name(name),
            "rootDir": "",
            "imagePath": image,
            "registryCredential": {"id": "rgc-fake", "name": "registry"},
            "serviceDetails": details,
        }
        service = FakeService(document, self.new_id("key").removeprefix("key-"), dict(variables or {}))
        self.services.append(service)
        return service

    # ---- Found. ----

    def service(self, wanted: str) -> FakeService:
        """By id or name."""
        for service in self.services:
            if wanted in (service.id, service.name):
                return service
        raise RefusedError(404, f"service not found: {wanted}")

    def deploy(self, service: FakeService, deploy_id: str) -> FakeDeploy:
        for deploy in service.deploys:
            if deploy.id == deploy_id and deploy.listed:
                return deploy
        raise RefusedError(404, "deploy not found")

    def group(self, group_id: str) -> dict[str, Any]:
        for group in self.groups:
            if group["id"] == group_id:
                return group
        raise RefusedError(404, "environment group not found")

    def job(self, service: FakeService, job_id: str) -> dict[str, Any]:
        for job in service.jobs:
            if job["id"] == job_id:
                return job
        raise RefusedError(404, "job not found")

    def environment(self, service: FakeService) -> dict[str, str]:
        """The variables that a deploy of now is begun with: those of linked groups, and its own over them."""
        found: dict[str, str] = {}
        for group in self.groups:
            if any(link["id"] == service.id for link in group["serviceLinks"]):
                found |= {variable["key"]: variable["value"] for variable in group["envVars"]}
        return {**found, **service.variables}

    def resolved(self, reference: str) -> str:
        """The digest of an image reference; a tag that nobody has set has one too."""
        _, at, digest = reference.partition("@")
        if at:
            return digest
        return self.tags.setdefault(reference, "sha256:" + hashlib.sha256(reference.encode()).hexdigest())

    # ---- Deploys. ----

    def new_deploy(
        self, service: FakeService, reference: str, trigger: str, environment: dict[str, str] | None = None
    ) -> FakeDeploy:
        """Begin a deploy, or queue it."""
        if repository_of(reference) != service.repository:
            raise RefusedError(400, "imageURL host, repository, and image name must match the configured image")
        now = self.moment()
        document = {
            "id": self.new_id("dep"),
            "status": "created",
            "trigger": trigger,
            "image": {"ref": reference, "sha": self.resolved(reference), "registryCredential": "registry"},
            "createdAt": now,
            "updatedAt": now,
        }
        deploy = FakeDeploy(document, reference, self.environment(service) if environment is None else environment)
        busy = service.busy()
        service.deploys.append(deploy)
        if busy and self.overlap == "override":
            self.backend.cancel(self, service, busy)
            self.set_status(service, busy, "canceled")
        elif busy:
            document["status"] = "queued"
            deploy.listed = self.tells_queued
            return deploy
        self.backend.begin(self, service, deploy)
        return deploy

    def set_status(self, service: FakeService, deploy: FakeDeploy, status: str) -> None:
        """A deploy has come further; a new one that is live takes the place of the last."""
        with self.lock:
            if deploy.status == status or deploy.status in ENDED:
                return
            now = self.moment()
            deploy.document |= {"status": status, "updatedAt": now}
            deploy.document.setdefault("startedAt", now)
            if status not in ENDED:
                return
            deploy.document["finishedAt"] = now
            if status == "live":
                for other in service.deploys:
                    if other is not deploy and other.status == "live":
                        other.document |= {"status": "deactivated", "updatedAt": now}
                service.running = Running(deploy.sha, deploy.environment)
            self._next_in_line(service)

    def _next_in_line(self, service: FakeService) -> None:
        waiting = next((deploy for deploy in service.deploys if deploy.status == "queued"), None)
        if waiting and not service.busy():
            waiting.document["status"] = "created"
            waiting.listed = True
            self.backend.begin(self, service, waiting)

    def cancel(self, service: FakeService, deploy: FakeDeploy) -> None:
        if deploy.status in ENDED:
            raise RefusedError(400, "deploy is not in progress")
        self.backend.cancel(self, service, deploy)
        self.set_status(service, deploy, "canceled")

    def roll_back(self, service: FakeService, deploy_id: str) -> FakeDeploy:
        """A deploy of what an earlier one was of, with its variables; a tag is resolved anew."""
        target = self.deploy(service, deploy_id)
        if target.status not in ("live", "deactivated"):
            raise RefusedError(400, "deploy was never live")
        return self.new_deploy(service, target.reference, "rollback", dict(target.environment))

    def restart(self, service: FakeService) -> None:
        """Containers anew, of the configured image, with the variables of the last deploy."""
        if service.running is None:
            raise RefusedError(404, "nothing is running")
        service.restarts += 1
        configured = self.resolved(str(service.document["imagePath"]))
        service.running = Running(configured, service.running.environment)
        self.backend.restart(self, service)

    # ---- Environment groups. ----

    def new_group(self, content: dict[str, Any]) -> dict[str, Any]:
        group = {
            "id": self.new_id("evg"),
            "name": content["name"],
            "ownerId": content["ownerId"],
            "createdAt": self.moment(),
            "updatedAt": self.moment(),
            "serviceLinks": [],
            "envVars": [self.variable(entry) for entry in content["envVars"]],
            "secretFiles": [],
        }
        self.groups.append(group)
        for service_id in content.get("serviceIds", []):
            self.link(group, self.service(service_id))
        return group

    def link(self, group: dict[str, Any], service: FakeService) -> None:
        row = {"id": service.id, "name": service.name, "type": _SHORT_TYPES[service.document["type"]]}
        if row not in group["serviceLinks"]:
            group["serviceLinks"].append(row)
        group["updatedAt"] = self.moment()

    def variable(self, entry: dict[str, Any]) -> dict[str, str]:
        generated = hashlib.sha256(self.moment().encode()).hexdigest()
        return {"key": entry["key"], "value": str(entry.get("value", generated))}

    # ---- One-off jobs. ----

    def new_job(self, service: FakeService, content: dict[str, Any]) -> dict[str, Any]:
        plan = service.document["serviceDetails"]["plan"]
        if plan == "free":
            raise RefusedError(400, "free tier plans are not supported for jobs")
        if service.running is None:
            raise RefusedError(400, "service has no successful deploy")
        job = {
            "id": self.new_id("job"),
            "serviceId": service.id,
            "startCommand": content["startCommand"],
            "planId": content.get("planId", "plan-srv-006"),
            "status": "pending",
            "createdAt": self.moment(),
        }
        service.jobs.append(job)
        self.backend.start_job(self, service, job)
        return job

    def set_job_status(self, job: dict[str, Any], status: str) -> None:
        with self.lock:
            if job["status"] in ("succeeded", "failed", "canceled"):
                return
            job["status"] = status
            job["startedAt" if status == "running" else "finishedAt"] = self.moment()

    def newest_first(self, service: FakeService) -> Iterator[FakeDeploy]:
        return (deploy for deploy in reversed(service.deploys) if deploy.listed)
