"""What runs elsewhere use of Dagster, dagster-docker and dagster-k8s beyond public names is there as we use it."""

from __future__ import annotations

import inspect
from typing import Any

import dagster
import pytest

from dagster_apollo.code_host import code_location
from dagster_apollo.elsewhere import choosing, dagster_internals, docker_internals, kubernetes_internals, run_internals
from tests.support.package_source import modules_of

ADAPTERS = (dagster_internals, docker_internals, kubernetes_internals, run_internals)


def moved(what: str) -> str:
    names = ", ".join(adapter.__name__ for adapter in ADAPTERS)
    return f"{what}. dagster {dagster.__version__}: what we rely on has moved; mend the adapter that uses it ({names})"


# Functions, methods and constructors: the parameters that we pass.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "CheckRunHealthResult": ("status", "msg", "run_worker_id"),
    "DockerRunLauncher": ("env_vars", "networks", "container_kwargs"),
    "DockerRunLauncher._launch_container_with_command": ("run", "docker_image", "command"),
    "K8sRunLauncher": (
        "service_account_name", "instance_config_map", "dagster_home", "job_image", "load_incluster_config",
        "kubeconfig_file", "job_namespace", "image_pull_secrets", "labels", "env_secrets", "resources",
        "run_k8s_config",
    ),
    "K8sRunLauncher._launch_k8s_job_with_args": ("job_name", "args", "run"),
    "LaunchRunContext": ("dagster_run", "workspace"),
    "ReconstructableRepository.for_module": ("module", "fn_name"),
    "core_execute_run": ("recon_job", "dagster_run", "instance", "inject_env_vars"),
    "get_job_name_from_run_id": ("run_id",),
}  # fmt: skip
# Classes: the members that we call, override or inherit.
MEMBERS: dict[str, tuple[str, ...]] = {
    "ConfigurableClass": ("inst_data", "config_type", "from_config_value"),
    "ConfigurableClassData": ("rehydrate",),
    "ReconstructableRepository": ("get_reconstructable_job",),
    "RunLauncher": (
        "launch_run", "terminate", "supports_check_run_worker_health", "check_run_worker_health",
        "get_run_worker_debug_info", "register_instance", "dispose", "join", "_instance",
    ),
    "WorkerStatus": ("RUNNING", "NOT_FOUND", "FAILED", "SUCCESS", "UNKNOWN"),
}  # fmt: skip
CONSTANTS = {"capture_interrupts"}


def named(name: str) -> Any:
    first, _, member = name.partition(".")
    for adapter in ADAPTERS:
        if hasattr(adapter, first):
            found = getattr(adapter, first)
            return getattr(found, member) if member else found
    pytest.fail(moved(f"{name} is not there"))


def test_every_name_is_held_here() -> None:
    used = {
        entry.name
        for adapter in ADAPTERS
        for entry in modules_of()[adapter.__name__].imports
        if entry.module.startswith(("dagster.", "dagster_docker", "dagster_k8s"))
    }

    assert used == {name.partition(".")[0] for name in (*PARAMETERS, *MEMBERS)} | CONSTANTS


@pytest.mark.parametrize(("name", "passed"), PARAMETERS.items(), ids=PARAMETERS)
def test_what_is_called_takes_what_we_pass(name: str, passed: tuple[str, ...]) -> None:
    parameters = inspect.signature(named(name)).parameters

    assert [wanted for wanted in passed if wanted not in parameters] == [], moved(name)
    asked = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and key not in (*passed, "self")
    ]
    assert asked == [], moved(f"{name} now also asks for {', '.join(asked)}")


@pytest.mark.parametrize(("name", "members"), MEMBERS.items(), ids=MEMBERS)
def test_a_class_has_the_members_that_we_use(name: str, members: tuple[str, ...]) -> None:
    fields = {*dir(named(name)), *getattr(named(name), "__annotations__", {})}

    assert [member for member in members if member not in fields] == [], moved(name)


def test_our_launcher_leaves_no_abstract_member_open() -> None:
    assert sorted(choosing.ChoosingRunLauncher.__abstractmethods__) == [], moved("a launcher must have more")


def test_a_location_is_loaded_by_the_name_that_a_run_elsewhere_uses() -> None:
    assert isinstance(code_location.location, object)
    assert "def location()" in inspect.getsource(code_location), "elsewhere/executing.py names it"
