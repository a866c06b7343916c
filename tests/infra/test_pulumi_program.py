"""The Pulumi program declares what compose.yaml declares, container by container and field by field."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from dagster_apollo.fork import load_fork
from dagster_apollo.projections.compose import compose
from infra.variables import used
from tests.support.containers_declared import of_compose, of_pulumi
from tests.support.pulumi_program import CODE_DIGEST, DIGEST, PROGRAM, VARIABLES, declared

# One that changes nothing, one that changes what a fork can.
FORKS = {
    "the defaults": "",
    "everything else": (
        'name = "malt"\nimage = "registry.example.com/malt/dagster"\ndomain = "data.malt.example.com"\n'
        '[plans]\nwebserver = "1c-2g"\ndaemon = "2c-4g"\ncode = "4c-16g"\ndatabase = "pro-4gb"\n'
        '[docker_host]\nengine_socket = "/run/user/1000/docker.sock"\n'
    ),
}
OF_TENANTS = {name: text for name, text in VARIABLES.items() if "SNOWFLAKE" in name}
OWN = {name: text for name, text in VARIABLES.items() if name not in OF_TENANTS}


@pytest.fixture(params=FORKS.values(), ids=FORKS.keys())
def fork(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    "more",
    [{}, {"APOLLO_ACCESS": "", "DBT_TARGET": "dev", "APOLLO_WAIT_SECONDS": "77", "APOLLO_PUBLIC_URL": "https://b.io"}],
    ids=["", "other-values"],
)
def test_every_container_is_the_one_of_compose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fork: str, more: Mapping[str, str]
) -> None:
    variables = {**OWN, **more}
    program = declared(tmp_path, monkeypatch, fork, variables={**OF_TENANTS, **variables}, port=3456)
    environ = {**variables, "APOLLO_IMAGE": DIGEST, "APOLLO_CODE_IMAGE": CODE_DIGEST, "PORT": "3456"}

    ours = of_pulumi(program)
    theirs = of_compose(compose(load_fork(tmp_path)), environ, OF_TENANTS)

    assert set(ours) == set(theirs)
    for name in theirs:
        assert asdict(ours[name]) == asdict(theirs[name]), name


@pytest.mark.parametrize("addition", ["    pid: host\n", "    privileged: true\n"])
def test_a_key_that_only_compose_has_does_not_go_unseen(tmp_path: Path, addition: str) -> None:
    text = compose(load_fork(tmp_path)).replace("  dagster-code:\n", f"  dagster-code:\n{addition}")

    with pytest.raises(AssertionError, match="keys of dagster-code that nobody compares"):
        of_compose(text, OWN, OF_TENANTS)


def test_an_input_that_only_pulumi_has_does_not_go_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = declared(tmp_path, monkeypatch)
    program.containers["dagster-code"].inputs["privileged"] = True

    with pytest.raises(AssertionError, match="inputs of dagster-code that nobody compares"):
        of_pulumi(program)


def test_networks_and_volumes_are_those_of_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fork: str) -> None:
    program = declared(tmp_path, monkeypatch, fork)
    containers = of_compose(compose(load_fork(tmp_path)), OWN, {})

    volumes = {name for container in containers.values() for name in container.volumes if not name.startswith("/")}
    networks = {network for container in containers.values() for network in container.networks}

    assert {resource.inputs["name"] for resource in program.volumes.values()} == volumes
    assert {resource.inputs["name"] for resource in program.of("docker:index/network:Network").values()} == networks


def test_nothing_is_declared_but_these_kinds_of_resource(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fork: str
) -> None:
    program = declared(tmp_path, monkeypatch, fork)

    assert {resource.type.split(":")[-1] for resource in program.resources.values()} == {
        "docker", "Network", "Volume", "RemoteImage", "Container",
    }  # fmt: skip


def test_the_main_file_names_the_services_in_the_order_in_which_they_come_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = declared(tmp_path, monkeypatch, FORKS["everything else"])

    assert set(program.containers) == {
        "dagster-postgres", "dagster-code", "dagster-daemon", "dagster-webserver", "caddy",
    }  # fmt: skip
    # What waits for nothing of each other is registered in any order: the file's own is what a person reads.
    named = re.findall(r"host\.container\(services\.(\w+)", (PROGRAM / "__main__.py").read_text())
    assert named == ["database", "code", "daemon", "webserver", "proxy"]
    waits = {
        name: set(each.options["dependencies"]) & set(program.containers) for name, each in program.containers.items()
    }
    assert waits["dagster-code"] == waits["dagster-daemon"] == waits["dagster-webserver"] == {"dagster-postgres"}
    assert waits["caddy"] >= {"dagster-webserver"}
    assert program.outputs == {"address": "https://data.malt.example.com"}


def test_without_a_domain_the_webserver_is_published_on_loopback_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = declared(tmp_path, monkeypatch, port=3456)

    published = {name: container.inputs.get("ports", []) for name, container in program.containers.items()}
    assert published.pop("dagster-webserver") == [{"ip": "127.0.0.1", "external": 3456, "internal": 3000}]
    assert not any(published.values())
    assert program.outputs == {"address": "http://127.0.0.1:3456"}


def test_with_a_domain_the_proxy_alone_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = declared(tmp_path, monkeypatch, FORKS["everything else"], internalCertificates=True)

    published = {name: container.inputs.get("ports", []) for name, container in program.containers.items()}
    assert [port["internal"] for port in published.pop("caddy")] == [80, 443]
    assert not any(published.values())
    assert program.containers["caddy"].inputs["command"][-1] == "--internal-certs"


def test_the_code_host_alone_runs_the_image_with_the_tenants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = declared(tmp_path, monkeypatch)

    images = {name: container.inputs["image"] for name, container in program.containers.items()}
    assert images["dagster-code"] == f"id of {CODE_DIGEST}"
    assert images["dagster-webserver"] == images["dagster-daemon"] == f"id of {DIGEST}"


def test_the_code_host_alone_is_given_what_is_the_tenants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = declared(tmp_path, monkeypatch)

    holders = {
        name: {text.split("=")[0] for text in container.inputs["envs"]} & set(OF_TENANTS)
        for name, container in program.containers.items()
    }
    assert holders.pop("dagster-code") == set(OF_TENANTS)
    assert not any(holders.values())


def test_of_a_persons_variables_only_those_of_the_services_and_tenants_leave_the_laptop(tmp_path: Path) -> None:
    from dagster_apollo.topology import topology

    written = {**OWN, "RENDER_API_KEY": "x", "APOLLO_TOKEN": "x", "DAGSTER_PG_URI": "x", "EDITOR": "x"}
    of_tenants = {**OF_TENANTS, "APOLLO_SESSION_SECRET": "of a tenant", "DAGSTER_PG_URI": "x", "SHARED_BUCKET": "b"}

    assert used(topology(load_fork(tmp_path)), written, of_tenants) == {**VARIABLES, "SHARED_BUCKET": "b"}


def test_the_program_imports_no_dagster_and_nothing_of_the_package_but_the_ground() -> None:
    code = (
        "import sys, importlib, pathlib\n"
        "for file in pathlib.Path(sys.argv[1]).glob('[a-z]*.py'): importlib.import_module(f'infra.{file.stem}')\n"
        "known = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(known & {'dagster', 'dagster_shared', 'dagster_dbt', 'dbt', 'snowflake', 'duckdb'}))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('dagster_apollo.')))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(PROGRAM)], capture_output=True, text=True, check=True)

    found, ours = ended.stdout.splitlines()
    assert found == ""
    assert set(ours.split()) == {
        f"dagster_apollo.{name}" for name in ("errors", "fork", "plans", "run_places", "settings", "topology")
    }  # fmt: skip
