"""Runs as Kubernetes jobs, by dagster-k8s.

A pod has the code host's image by digest and its rights. Secrets are the cluster's own: one that all runs have, one of
the tenant, both made by whoever runs the cluster; the pod's first process gives the run what is its tenant's, as on the
code host. Names and what stands in them: docs/execution.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, DagsterRun

from dagster_apollo.elsewhere.dagster_internals import CheckRunHealthResult, WorkerStatus
from dagster_apollo.elsewhere.kubernetes_internals import K8sRunLauncher, create_job, delete_job, job_status
from dagster_apollo.elsewhere.place_command import run_words
from dagster_apollo.fork import Fork
from dagster_apollo.locations import tenant_of
from dagster_apollo.plans import PLANS, ServicePlan
from dagster_apollo.topology import FORK_LABEL, STATE_DIR, topology

# From SIGTERM to SIGKILL: dbt cancels its queries meanwhile.
STOP_SECONDS = 30
# How long a job that has ended can still be looked at.
KEPT_SECONDS = 3600


class KubernetesPlace:
    """Jobs in one namespace of one cluster.

    Args:
        instance: whose runs they execute.
        fork: whose rules name the namespace.
        kubeconfig: how the cluster is reached; a file that is not there: this process runs in it.
        image: tells which image the code host runs.
    """

    def __init__(self, instance: DagsterInstance, fork: Fork, kubeconfig: Path, image: Callable[[], str]) -> None:
        self._instance = instance
        self._fork = fork
        self._kubeconfig = kubeconfig if kubeconfig.is_file() else None
        self._image = image

    def connect(self) -> None:
        """Read how the cluster is reached.

        Raises:
            kubernetes.config.ConfigException: that cannot be told.
        """
        self._launcher()

    def launch(self, run: DagsterRun, location: str, plan: ServicePlan) -> None:
        words = run_words(location, run.run_id)
        launcher = self._launcher(
            job_image=self._image(),
            env_secrets=[shared_secret(self._fork)],
            resources=_resources(plan),
            run_k8s_config=self._of_the_job(tenant_of(location)),
        )
        create_job(launcher, run, words)

    def health(self, run: DagsterRun) -> CheckRunHealthResult:
        status = job_status(self._launcher(), run)
        if status is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the cluster knows no job of this run")
        if status.active or not (status.failed or status.succeeded):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        how = "failed" if status.failed else "succeeded"
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the run's Kubernetes job is over: {how}")

    def stop(self, run: DagsterRun) -> None:
        delete_job(self._launcher(), run)

    def tidy(self, is_finished: Callable[[str], bool]) -> None:
        """The cluster removes jobs by itself, an hour after their end."""

    def _launcher(self, **config: Any) -> K8sRunLauncher:
        rules = self._fork.runs.kubernetes
        secrets = [{"name": rules.image_pull_secret}] if rules.image_pull_secret else []
        launcher: K8sRunLauncher = K8sRunLauncher(
            service_account_name=rules.service_account,
            instance_config_map="",  # the image holds dagster.yaml
            dagster_home="",
            load_incluster_config=self._kubeconfig is None,
            kubeconfig_file=str(self._kubeconfig) if self._kubeconfig else None,
            job_namespace=rules.namespace,
            image_pull_secrets=secrets,
            labels={FORK_LABEL: self._fork.name},
            **config,
        )
        launcher.register_instance(self._instance)
        return launcher

    def _of_the_job(self, tenant: str) -> dict[str, Any]:
        service = topology(self._fork).code
        user = int(service.user.partition(":")[0])
        mounts = {f"writable-{number}": path for number, path in enumerate((*service.tmpfs, STATE_DIR))}
        return {
            "container_config": {
                # Of a tenant that has no secret there need be none.
                "env_from": [{"secret_ref": {"name": tenant_secret(self._fork, tenant), "optional": True}}],
                "volume_mounts": [{"name": name, "mount_path": path} for name, path in mounts.items()],
                "security_context": {
                    "run_as_user": user,
                    "allow_privilege_escalation": False,
                    "read_only_root_filesystem": service.read_only,
                    "capabilities": {"drop": ["ALL"], "add": list(service.capabilities)},
                },
            },
            "pod_spec_config": {
                "automount_service_account_token": False,
                "enable_service_links": False,  # else every service of the namespace adds variables
                "termination_grace_period_seconds": STOP_SECONDS,
                "volumes": [{"name": name, "empty_dir": {}} for name in mounts],
            },
            # A pod that died is not started again: the run is taken up as another.
            "job_spec_config": {"backoff_limit": 0, "ttl_seconds_after_finished": KEPT_SECONDS},
        }


def shared_secret(fork: Fork) -> str:
    """The name of the secret that all runs have: DAGSTER_PG_URI and the settings that tenants share."""
    return f"{fork.name}-runs"


def tenant_secret(fork: Fork, tenant: str) -> str:
    """The name of one tenant's secret: its variables, with its prefix."""
    return f"{fork.name}-tenant-{tenant.lower().replace('_', '-')}".rstrip("-")


def _resources(plan: ServicePlan) -> Mapping[str, Mapping[str, str]]:
    size = PLANS[plan]
    given = {"memory": f"{size.memory_mb}Mi", "cpu": f"{int(size.cpus * 1000)}m"}
    return {"requests": given, "limits": given}
