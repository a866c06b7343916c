"""How a process comes to use an engine elsewhere: what it takes, from the fork and the environment.

A process that lacks it is told so; that is the webserver's usual state, which leaves such runs to the daemon. An
engine's client is imported by whoever uses that engine: each is tens of megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dagster import DagsterInstance

from dagster_apollo.code_host.directory import fetch, split_address
from dagster_apollo.elsewhere.environments import TOKEN_VARIABLE
from dagster_apollo.elsewhere.place import Place
from dagster_apollo.errors import Problem, RunPlaceError
from dagster_apollo.fork import FILE, Fork
from dagster_apollo.run_places import Elsewhere
from dagster_apollo.settings import read
from dagster_apollo.topology import ENGINE_SOCKET, IMAGE_TAG


def open_place(place: Elsewhere, instance: DagsterInstance, fork: Fork, environ: Mapping[str, str]) -> Place:
    """An engine, ready to be asked.

    Args:
        place: which.
        instance: whose runs it executes.
        fork: whose deployment this is.
        environ: this process's variables.

    Raises:
        RunPlaceError: the fork has no runs there, or this process lacks what it takes.
        SettingsError: a setting that it takes is missing or malformed.
        DeployError: Render does not know the code host's service.
    """
    if place not in fork.runs.elsewhere:
        remedy = f'Say `elsewhere = ["{place}"]` there, under `[runs]`, or set APOLLO_RUN_ON=host for the tenant.'
        raise RunPlaceError([Problem(f"{FILE}: runs.elsewhere", f"does not name {place}", remedy)])
    match place:
        case "render_job":
            return _render_job(instance, fork, environ)
        case "docker":
            return _docker(instance, fork, environ)
        case "kubernetes":
            return _kubernetes(instance, fork, environ)


def _render_job(instance: DagsterInstance, fork: Fork, environ: Mapping[str, str]) -> Place:
    from dagster_apollo.deploy.render_jobs import RenderJobs
    from dagster_apollo.deploy.targets import connect, find_services
    from dagster_apollo.elsewhere.render_job import RenderJobPlace

    client = connect(read(environ), lambda _: None)
    service = find_services(client, fork, ["code"])["code"]
    return RenderJobPlace(instance, RenderJobs(client, service.id))


def _docker(instance: DagsterInstance, fork: Fork, environ: Mapping[str, str]) -> Place:
    from dagster_apollo.elsewhere.docker import DockerPlace

    token, address = environ.get(TOKEN_VARIABLE, ""), environ.get("APOLLO_CODE_HOST", "")
    problems = []
    if not token:
        what = "is not set, and without it the code host gives a run's container no variables"
        problems.append(Problem(TOKEN_VARIABLE, what, "Set it to the same for daemon and code host."))
    if not environ.get("DOCKER_HOST") and not Path(ENGINE_SOCKET).is_socket():
        remedy = f"Start runs from the daemon, and say `docker_host.engine_socket` in {FILE}."
        problems.append(Problem(ENGINE_SOCKET, "is not there: this process has no container engine", remedy))
    if problems:
        raise RunPlaceError(problems)
    host, port = split_address(address)
    return DockerPlace(instance, fork, token, f"{host}:{port}")


def _kubernetes(instance: DagsterInstance, fork: Fork, environ: Mapping[str, str]) -> Place:
    from kubernetes.config import ConfigException

    from dagster_apollo.elsewhere.kubernetes import KubernetesPlace

    kubeconfig = Path(str(read(environ)["KUBECONFIG"]))

    def image() -> str:
        return fetch(*split_address(environ.get("APOLLO_CODE_HOST"))).image or f"{fork.image}:{IMAGE_TAG}"

    place = KubernetesPlace(instance, fork, kubeconfig, image)
    try:
        place.connect()
    except (ConfigException, OSError) as error:
        remedy = "Give the daemon the cluster's kubeconfig there, or run it in the cluster."
        raise RunPlaceError(
            [Problem(f"KUBECONFIG={kubeconfig}", f"cannot be used: {type(error).__name__}", remedy)]
        ) from None
    return place
