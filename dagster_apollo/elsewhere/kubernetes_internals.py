"""What is used of dagster-k8s beyond its public names, in one place.

It starts `dagster api execute_run` alone, where ours is `apollo run`: its last step is called directly. Of a job that
is not there it says "unknown", where more is known. A test holds each name to the form used here.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import DagsterRun
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import get_job_name_from_run_id
from kubernetes.client import V1JobStatus

from dagster_apollo.elsewhere.dagster_internals import without_wishes

__all__ = ["K8sRunLauncher", "create_job", "delete_job", "job_status"]


def create_job(launcher: K8sRunLauncher, run: DagsterRun, words: Sequence[str]) -> str:
    """Start a run's Kubernetes job with other words than dagster-k8s's own; its name."""
    name = get_job_name_from_run_id(run.run_id)
    launcher._launch_k8s_job_with_args(name, list(words), without_wishes(run))
    return str(name)


def job_status(launcher: K8sRunLauncher, run: DagsterRun) -> V1JobStatus | None:
    """How far a run's Kubernetes job is; None: there is none."""
    return launcher._api_client.get_job_status(
        job_name=get_job_name_from_run_id(run.run_id), namespace=launcher.job_namespace
    )


def delete_job(launcher: K8sRunLauncher, run: DagsterRun) -> None:
    """Remove a run's Kubernetes job with its pods, which are told to end; one that is not there is passed over."""
    launcher._api_client.delete_job(job_name=get_job_name_from_run_id(run.run_id), namespace=launcher.job_namespace)
