"""Runs as Kubernetes jobs: the job that is made is one that Kubernetes' schema allows, and tenants add nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from dagster_apollo.elsewhere.choosing import ChoosingRunLauncher
from dagster_apollo.elsewhere.kubernetes import KubernetesPlace
from dagster_apollo.fork import parse_fork
from tests.support.kubernetes_api import Cluster, cluster, problems
from tests.support.launched import World, world_of

FORK = parse_fork(
    {
        "name": "malt",
        "runs": {
            "elsewhere": ["kubernetes"],
            "kubernetes": {"namespace": "data", "service_account": "runs", "image_pull_secret": "ghcr"},
        },
    }
)
IMAGE = "ghcr.io/acme/dagster-apollo@sha256:" + "1" * 64
ASKS = {"apollo/run_on": "kubernetes", "apollo/run_plan": "2c-8g"}


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as made:
        yield made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_of(tmp_path, ASKS, image="ghcr.io/mallory/miner:1") as made:
        yield made


@pytest.fixture
def launcher(world: World, kubernetes: Cluster) -> ChoosingRunLauncher:
    def opened(instance: dg.DagsterInstance, place: str) -> KubernetesPlace:
        return KubernetesPlace(instance, FORK, kubernetes.kubeconfig, lambda: IMAGE)

    made = ChoosingRunLauncher(world.host, opened)
    made.register_instance(world.instance)
    return made


def launched(world: World, launcher: ChoosingRunLauncher, **tags: str) -> dg.DagsterRun:
    run = world.new_run(**tags)
    launcher.launch_run(world.context(run))
    world.instance.report_dagster_event(
        dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=run.job_name), run.run_id
    )
    return world.read(run)


def pod_of(kubernetes: Cluster) -> tuple[dict[str, Any], dict[str, Any]]:
    pod = kubernetes.the_job()["spec"]["template"]["spec"]
    [container] = pod["containers"]
    return pod, container


def test_the_job_is_one_that_kubernetes_allows_and_executes_the_run(
    world: World, kubernetes: Cluster, launcher: ChoosingRunLauncher
) -> None:
    run = launched(world, launcher)

    job = kubernetes.the_job()
    assert problems(job) == []
    assert list(kubernetes.jobs) == [("data", f"dagster-run-{run.run_id}")]
    pod, container = pod_of(kubernetes)
    assert container["args"] == ["run", world.location, run.run_id]
    assert container["image"] == IMAGE
    assert container["resources"]["limits"] == {"memory": "8192Mi", "cpu": "2000m"}
    assert job["spec"]["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"
    assert pod["serviceAccountName"] == "runs"
    assert pod["imagePullSecrets"] == [{"name": "ghcr"}]


def test_the_pod_has_the_code_hosts_rights_and_no_more(
    world: World, kubernetes: Cluster, launcher: ChoosingRunLauncher
) -> None:
    launched(world, launcher)

    pod, container = pod_of(kubernetes)
    assert container["securityContext"] == {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["SETGID", "SETUID"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/var/lib/apollo"}


def test_the_pod_is_given_the_shared_secret_and_the_tenants_and_no_value(
    world: World, kubernetes: Cluster, launcher: ChoosingRunLauncher
) -> None:
    launched(world, launcher)

    _, container = pod_of(kubernetes)
    tenant = f"malt-tenant-{world.location.lower().replace('_', '-')}"
    assert container["envFrom"] == [
        {"secretRef": {"name": "malt-runs"}},
        {"secretRef": {"name": tenant, "optional": True}},
    ]
    assert {entry["name"] for entry in container.get("env", [])} <= {"DAGSTER_RUN_JOB_NAME"}


def test_neither_a_tag_nor_a_tenants_process_adds_anything_to_the_job(
    world: World, kubernetes: Cluster, launcher: ChoosingRunLauncher
) -> None:
    wished = '{"pod_spec_config": {"host_network": true}, "container_config": {"image": "ghcr.io/mallory/miner:1"}}'

    launched(world, launcher, **{"dagster-k8s/config": wished})

    pod, container = pod_of(kubernetes)
    assert "hostNetwork" not in pod
    assert container["image"] == IMAGE


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ({}, WorkerStatus.RUNNING),
        ({"active": 1}, WorkerStatus.RUNNING),
        ({"failed": 1}, WorkerStatus.FAILED),
        ({"succeeded": 1}, WorkerStatus.FAILED),
    ],
)
def test_a_run_lives_while_its_job_does(
    world: World, kubernetes: Cluster, launcher: ChoosingRunLauncher, status: dict[str, int], health: WorkerStatus
) -> None:
    run = launched(world, launcher)
    kubernetes.becomes(**status)

    assert launcher.check_run_worker_health(run).status is health


def test_a_job_that_somebody_removed_is_over_and_a_cluster_that_is_away_says_nothing(
    world: World, kubernetes: Cluster, launcher: ChoosingRunLauncher
) -> None:
    run = launched(world, launcher)

    kubernetes.down = True
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    kubernetes.down = False
    kubernetes.jobs.clear()
    assert launcher.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND


def test_a_run_that_does_not_end_by_itself_has_its_job_removed(
    world: World, kubernetes: Cluster, launcher: ChoosingRunLauncher
) -> None:
    run = launched(world, launcher)

    launcher.terminate(run.run_id)
    assert launcher.end_canceled(timedelta(0)) == [run.run_id]
    assert kubernetes.jobs == {}
    assert launcher.end_canceled(timedelta(0)) == [run.run_id]
    assert world.read(run).status is dg.DagsterRunStatus.CANCELED


def test_the_schema_that_judges_is_strict() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": {"template": {"spec": {}}}}
    wrong = {**job, "spec": {"template": {"spec": {"containers": [{"name": "c"}], "serviceAccount": 1, "lags": 1}}}}

    assert any("'containers' is a required property" in told for told in problems(job))
    assert len(problems(wrong)) == 2
