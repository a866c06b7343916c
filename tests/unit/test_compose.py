"""`compose.yaml`, as text: what Docker is asked for. That Docker then does it is `tests/e2e/test_compose.py`'s."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagster_apollo.fork import Fork, parse_fork
from dagster_apollo.projections import compose
from dagster_apollo.projections.reference import generated_files
from dagster_apollo.settings import SETTINGS
from dagster_apollo.tenant import tenant_names
from dagster_apollo.topology import topology
from tests.support.checkout import REPOSITORY, copy_checkout

FORK = Fork()
BEHIND_A_PROXY = Fork(domain="data.malt.com")


def services(fork: Fork = FORK) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(compose.compose(fork))["services"]
    return found


def test_every_container_of_the_topology_is_there_and_no_other() -> None:
    for fork in (FORK, BEHIND_A_PROXY):
        assert list(services(fork)) == [service.name for service in topology(fork).containers]


def test_the_file_says_that_it_is_generated_and_from_what() -> None:
    head = compose.compose(FORK).partition("name:")[0]

    assert "make generated" in head
    assert "apollo.toml" in head
    assert "topology.py" in head


def test_no_tenant_is_named() -> None:
    text = compose.compose(FORK)

    assert [name for name in tenant_names(REPOSITORY / "tenants") if name in text] == []


@pytest.mark.parametrize("fork", [FORK, BEHIND_A_PROXY], ids=["loopback", "proxy"])
def test_every_container_is_bounded(fork: Fork) -> None:
    for name, service in services(fork).items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["memswap_limit"] == service["mem_limit"], name
        assert service["cpus"] > 0, name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["networks"] == ["private"], name


def test_only_what_the_database_writes_itself_is_writable() -> None:
    assert [name for name, service in services().items() if not service["read_only"]] == ["dagster-postgres"]


def test_nothing_is_published_but_on_loopback_unless_a_proxy_stands_in_front() -> None:
    assert {name: service["ports"] for name, service in services().items() if "ports" in service} == {
        "dagster-webserver": ["127.0.0.1:${PORT:-3000}:3000"]
    }
    assert {name: service["ports"] for name, service in services(BEHIND_A_PROXY).items() if "ports" in service} == {
        "caddy": ["80:80", "443:443"]
    }


def test_each_stage_is_built_by_one_service_and_named_by_the_others() -> None:
    stages = [service["build"]["target"] for service in services().values() if "build" in service]

    assert sorted(stages) == ["full", "host"]
    assert services()["dagster-daemon"]["image"] == services()["dagster-webserver"]["image"]
    assert services()["dagster-code"]["image"] != services()["dagster-webserver"]["image"]


def test_the_code_host_alone_reads_tenants_variables_and_never_the_file_with_the_hosts_own_secrets() -> None:
    files = {name: service["env_file"] for name, service in services().items() if "env_file" in service}

    assert files == {"dagster-code": [{"path": ".env.tenants", "required": False}]}


def test_nothing_of_the_host_is_given_to_anybody_but_the_engine_to_the_code_host_where_the_fork_says_so() -> None:
    def of_the_host(fork: Fork) -> dict[str, list[str]]:
        found = {name: [text for text in service.get("volumes", []) if text.startswith("/")]
                 for name, service in services(fork).items()}  # fmt: skip
        return {name: texts for name, texts in found.items() if texts}

    with_engine = parse_fork({"docker_host": {"engine_socket": "/run/user/1000/docker.sock"}})

    assert of_the_host(FORK) == {}
    assert of_the_host(with_engine) == {"dagster-code": ["/run/user/1000/docker.sock:/var/run/docker.sock"]}
    assert services(with_engine)["dagster-code"]["cap_add"] == ["SETGID", "SETUID"]


def test_a_secret_is_only_ever_a_reference() -> None:
    secret = {setting.name for setting in SETTINGS if setting.secret} | {"POSTGRES_PASSWORD"}
    for service in services().values():
        for name, text in service.get("environment", {}).items():
            if name in secret:
                assert re.search(rf"\$\{{({name}|POSTGRES_PASSWORD)[:}}]", text), name


def test_a_host_without_its_secrets_is_told_how_to_get_them() -> None:
    environment = services()["dagster-webserver"]["environment"]

    assert "apollo init" in environment["APOLLO_SESSION_SECRET"]
    assert "apollo init" in environment["DAGSTER_PG_URI"]


def test_adding_a_tenant_changes_no_generated_file(tmp_path: Path) -> None:
    clone = copy_checkout(tmp_path / "clone")
    before = {path.relative_to(clone): text for path, text in generated_files(clone).items()}
    (clone / "tenants" / "acme").mkdir()
    (clone / "tenants" / "acme" / "dbt_project.yml").write_text("name: acme\n")

    assert {path.relative_to(clone): text for path, text in generated_files(clone).items()} == before
