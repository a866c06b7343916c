"""Deploys that go as they were told to, a step each time somebody asks: nothing runs and nothing waits."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from tests.support.fake_render.world import ENDED, FakeDeploy, FakeService, World

GOES_LIVE = ("build_in_progress", "pre_deploy_in_progress", "update_in_progress", "live")
HANGS = ("build_in_progress", "update_in_progress")
# What happens when a deploy is asked for, and the status that it has after it.
Step = str | Callable[[World, FakeService, FakeDeploy], str]


class Scripted:
    """A backend whose deploys do as they are told; untold, they go live."""

    def __init__(self) -> None:
        self._told: dict[str, deque[tuple[Step, ...]]] = defaultdict(deque)
        self._steps: dict[str, deque[Step]] = {}
        self.job_outcome = "succeeded"

    def tell(self, service_name: str, *scripts: tuple[Step, ...]) -> None:
        """How the next deploys of a service go."""
        self._told[service_name].extend(scripts)

    def begin(self, world: World, service: FakeService, deploy: FakeDeploy) -> None:
        told = self._told[service.name]
        self._steps[deploy.id] = deque(told.popleft() if told else GOES_LIVE)

    def asked(self, world: World, service: FakeService, deploy: FakeDeploy) -> None:
        steps = self._steps.get(deploy.id)
        if steps and deploy.status not in ENDED:
            step = steps.popleft()
            world.set_status(service, deploy, step if isinstance(step, str) else step(world, service, deploy))

    def cancel(self, world: World, service: FakeService, deploy: FakeDeploy) -> None:
        self._steps.pop(deploy.id, None)

    def restart(self, world: World, service: FakeService) -> None:
        pass

    def start_job(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        pass

    def end_job(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        pass

    def job_asked(self, world: World, service: FakeService, job: dict[str, Any]) -> None:
        world.set_job_status(job, "running" if job["status"] == "pending" else self.job_outcome)
