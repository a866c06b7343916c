"""Runs in containers of their own beside the code host, by dagster-docker.

A container has the image and the network of the code host that runs there, found by its labels, and its rights: root in
its first process, which becomes the tenant's user. It is given no tenant's variables but a proof with which its first
process fetches them from the code host, so `docker inspect` shows none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import docker
from dagster import DagsterInstance, DagsterRun
from docker.models.containers import Container

from dagster_apollo.elsewhere.dagster_internals import CheckRunHealthResult, WorkerStatus
from dagster_apollo.elsewhere.docker_internals import DockerRunLauncher, create_container
from dagster_apollo.elsewhere.environments import PROOF_VARIABLE, prove
from dagster_apollo.elsewhere.place_command import run_words
from dagster_apollo.errors import Problem, RunPlaceError
from dagster_apollo.fork import Fork
from dagster_apollo.plans import PLANS, ServicePlan
from dagster_apollo.topology import (
    FORK_LABEL,
    LOG_OPTIONS,
    SECURITY_OPTIONS,
    SERVICE_LABEL,
    STATE_DIR,
    topology,
)

RUN_LABEL = "dagster-apollo.run"
# From SIGTERM to SIGKILL: dbt cancels its queries meanwhile.
STOP_SECONDS = 30


class DockerPlace:
    """Containers on the engine that the code host runs on.

    Args:
        instance: whose runs they execute.
        fork: whose code host it is.
        code_token: the secret that daemon and code host share.
        code_host: where the code host answers, `host:port`.
    """

    def __init__(self, instance: DagsterInstance, fork: Fork, code_token: str, code_host: str) -> None:
        self._instance = instance
        self._fork = fork
        self._token = code_token
        self._code_host = code_host

    def launch(self, run: DagsterRun, location: str, plan: ServicePlan) -> None:
        """See `Place`.

        Raises:
            RunPlaceError: no code host of this fork runs on the engine.
        """
        words = run_words(location, run.run_id)
        host = self._container_of_code_host(run)
        proof = prove(self._token, location, run.run_id, time.time())
        launcher = self._launcher(
            networks=sorted(host.attrs["NetworkSettings"]["Networks"]),
            env_vars=[f"APOLLO_CODE_HOST={self._code_host}", f"{PROOF_VARIABLE}={proof}"],
            container_kwargs=self._rights(plan, run.run_id),
        )
        create_container(launcher, run, str(host.attrs["Image"]), words)

    def health(self, run: DagsterRun) -> CheckRunHealthResult:
        container = self._container_of(run)
        if container is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the engine knows no container of this run")
        if container.status in ("created", "running", "restarting", "paused"):
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=container.short_id)
        return CheckRunHealthResult(WorkerStatus.FAILED, _end_of(container))

    def stop(self, run: DagsterRun) -> None:
        container = self._container_of(run)
        if container is not None:
            container.stop(timeout=STOP_SECONDS)

    def tidy(self, is_finished: Callable[[str], bool]) -> None:
        """Remove containers that have ended; what they said is in the run's own log."""
        for container in self._containers(f"{FORK_LABEL}={self._fork.name}", RUN_LABEL):
            if container.status in ("exited", "dead") and is_finished(container.labels[RUN_LABEL]):
                container.remove()

    def _launcher(self, **config: Any) -> DockerRunLauncher:
        launcher: DockerRunLauncher = DockerRunLauncher(**config)
        launcher.register_instance(self._instance)
        return launcher

    def _containers(self, *labels: str) -> list[Container]:
        client = docker.from_env()
        try:
            found: list[Container] = client.containers.list(
                all=True, filters={"label": list(labels)}, ignore_removed=True
            )
            return found
        finally:
            client.close()

    def _container_of_code_host(self, run: DagsterRun) -> Container:
        name = topology(self._fork).code.name
        same = self._containers(f"{FORK_LABEL}={self._fork.name}", f"{SERVICE_LABEL}={name}")
        running = [container for container in same if container.status == "running"]
        if not running:
            remedy = "Start it, or set APOLLO_RUN_ON=host for the tenant."
            raise RunPlaceError([Problem(name, f"no container of {self._fork.name} runs on this engine", remedy)])
        return max(running, key=lambda container: str(container.attrs["Created"]))

    def _container_of(self, run: DagsterRun) -> Container | None:
        # By its label: a run that takes up another has that one's tags.
        same = self._containers(f"{FORK_LABEL}={self._fork.name}", f"{RUN_LABEL}={run.run_id}")
        return same[0] if same else None

    def _rights(self, plan: ServicePlan, run_id: str) -> Mapping[str, Any]:
        """What a code host's container has, with the run's memory and processors, and nothing lasting."""
        service, size = topology(self._fork).code, PLANS[plan]
        return {
            "user": service.user,
            "cap_drop": ["ALL"],
            "cap_add": list(service.capabilities),
            "security_opt": list(SECURITY_OPTIONS),
            "read_only": service.read_only,
            "tmpfs": dict.fromkeys((*service.tmpfs, STATE_DIR), ""),
            "mem_limit": f"{size.memory_mb}m",
            "memswap_limit": f"{size.memory_mb}m",
            "nano_cpus": int(size.cpus * 1e9),
            "log_config": {"type": "json-file", "config": dict(LOG_OPTIONS)},
            "labels": {FORK_LABEL: self._fork.name, RUN_LABEL: run_id},
        }


def _end_of(container: Container) -> str:
    state = container.attrs.get("State", {})
    reason = "out of memory" if state.get("OOMKilled") else f"exit code {state.get('ExitCode')}"
    return f"the run's container {container.short_id} has ended: {reason}"
