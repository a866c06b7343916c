"""What tenants' processes use of Dagster's code server beyond its public names is still there as we use it."""

from __future__ import annotations

import inspect
import json

import dagster
import pytest

from dagster_apollo.code_host import dagster_internals
from tests.support.package_source import modules_of

ADAPTER = "dagster_apollo.code_host.dagster_internals"
PARAMETERS = {
    "DagsterApiServer": (
        "server_termination_event", "logger", "server_threadpool_executor", "loadable_target_origin",
        "fixed_server_id", "location_name", "entry_point",
    ),
    "FuturesAwareThreadPoolExecutor": ("max_workers",),
    "LoadedRepositories": (
        "loadable_target_origin", "container_image", "entry_point", "container_context", "code_location_name",
    ),
    "get_run_crash_explanation": ("prefix", "exit_code"),
}  # fmt: skip
MEMBERS = {
    "DagsterApiServer": ("ListRepositories", "GetCurrentImage", "ExternalRepository", "ExternalJob"),
    "ExecuteExternalJobArgs": ("instance_ref", "run_id"),
    "LoadedRepositories": ("definitions_by_name",),
}


def moved(what: str) -> str:
    return f"{what}. dagster {dagster.__version__}: what we rely on has moved; mend {ADAPTER} and who uses it"


def test_nothing_else_of_the_code_host_imports_a_private_name() -> None:
    importing = {
        name
        for name, module in modules_of().items()
        if name.startswith("dagster_apollo.code_host.")
        for entry in module.imports
        if entry.module.startswith("dagster._")
    }

    assert importing == {ADAPTER}


@pytest.mark.parametrize(("name", "passed"), PARAMETERS.items(), ids=PARAMETERS)
def test_what_we_pass_is_taken(name: str, passed: tuple[str, ...]) -> None:
    parameters = inspect.signature(getattr(dagster_internals, name)).parameters

    assert [wanted for wanted in passed if wanted not in parameters] == [], moved(name)
    asked = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and key not in passed
    ]
    assert asked == [], moved(f"{name} now also asks for {', '.join(asked)}")


@pytest.mark.parametrize(("name", "members"), MEMBERS.items(), ids=MEMBERS)
def test_what_we_use_is_there(name: str, members: tuple[str, ...]) -> None:
    kind = getattr(dagster_internals, name)
    known = {*dir(kind), *getattr(kind, "__annotations__", {})}

    assert [member for member in members if member not in known] == [], moved(name)


def test_a_server_answers_from_what_it_was_given_after_it_was_made() -> None:
    source = inspect.getsource(dagster_internals.DagsterApiServer)

    for name in ("_loaded_repositories", "_serializable_load_error", "_loadable_target_origin"):
        assert f"self.{name}" in source, moved(f"DagsterApiServer.{name}")


def test_answers_need_no_context_of_grpc() -> None:
    source = inspect.getsource(dagster_internals.DagsterApiServer)

    assert "_context." not in source, moved("a call now uses what gRPC knows of its caller, and ours has none")


def test_a_repository_is_named_as_a_request_names_it() -> None:
    told = json.loads(dagster_internals.repository_origin("alpha", "__repository__"))

    assert told["repository_name"] == "__repository__", moved("RemoteRepositoryOrigin, which the front reads")


def test_what_is_loaded_is_named_by_its_module() -> None:
    origin = dagster_internals._origin("a.module")

    assert (origin.module_name, origin.python_file, bool(origin.executable_path)) == ("a.module", None, True)
