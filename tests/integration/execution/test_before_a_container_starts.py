"""What keeps a container from starting is known beforehand; a server of this machine is reached from inside of one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_apollo.errors import ContainerError
from dagster_apollo.execution.container import ContainerPlace
from dagster_apollo.execution.gateway import gateway
from dagster_apollo.execution.image_files import FILES_LABEL
from dagster_apollo.execution.obstacle import obstacle
from dagster_apollo.host.processes import ProcessGroup
from stand_ins.starting import Need, start
from tests.support.container_engine import ContainerEngine
from tests.support.containers import IMAGE
from tests.support.key_value import running_key_value_store

ASK = "import urllib.request; print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open('{url}').status)"


@pytest.fixture
def place(tmp_path: Path) -> ContainerPlace:
    return ContainerPlace("shop", IMAGE, tmp_path, "tenants/shop/tenant.yaml", "Or run natively.")


@pytest.fixture
def network(container_engine: ContainerEngine) -> Iterator[str]:
    """The name of a network that is not there, and is not afterwards."""
    name = f"apollo-test-{uuid.uuid4().hex[:8]}"
    yield name
    container_engine.run(["network", "rm", name])


def kind(error: ContainerError | None) -> str | None:
    return error.kind if error else None


def test_nothing_is_in_the_way_of_an_image_that_is_there(
    container_engine: ContainerEngine, place: ContainerPlace
) -> None:
    assert obstacle(place, container_engine.environ, "any digest") is None, "one without a label may be of any files"


def test_an_engine_that_does_not_answer_is_told_with_the_way_out(place: ContainerPlace) -> None:
    found = obstacle(place, {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}, None)

    assert kind(found) == "no_engine"
    assert "Or run natively." in str(found)


def test_an_image_that_is_not_there_is_told(container_engine: ContainerEngine, place: ContainerPlace) -> None:
    missing = replace(place, image="apollo-test-nowhere:1")

    assert kind(obstacle(missing, container_engine.environ, None)) == "no_image"


def test_an_image_of_other_files_is_told(container_engine: ContainerEngine, place: ContainerPlace) -> None:
    tag = f"apollo-test-{uuid.uuid4().hex[:8]}:1"
    label = f"{FILES_LABEL}=of yesterday"
    container_engine.docker("build", "--quiet", "--tag", tag, "--label", label, "-", stdin=f"FROM {IMAGE}\n")
    try:
        labelled = replace(place, image=tag)
        assert kind(obstacle(labelled, container_engine.environ, "of today")) == "stale_image"
        assert obstacle(labelled, container_engine.environ, "of yesterday") is None
    finally:
        container_engine.docker("image", "rm", "--force", tag)


def test_a_network_that_is_not_there_is_told(
    container_engine: ContainerEngine, place: ContainerPlace, network: str
) -> None:
    assert kind(obstacle(replace(place, network=network), container_engine.environ, None)) == "no_network"


def test_a_server_at_the_gateway_is_reached_from_the_place_and_from_here(
    container_engine: ContainerEngine, place: ContainerPlace, network: str
) -> None:
    host = gateway(replace(place, network=network), container_engine.environ)
    assert host

    with running_key_value_store(host=host) as store:
        asked = ASK.replace("{url}", f"{store.endpoint}/_ready")
        assert container_engine.docker("run", "--rm", "--network", network, IMAGE, "python", "-c", asked) == "204"
        assert store.client().list_tables()["TableNames"] == []


def test_what_stands_in_for_postgres_is_reached_from_the_place(
    container_engine: ContainerEngine, place: ContainerPlace, network: str, folder: Path
) -> None:
    host = gateway(replace(place, network=network), container_engine.environ)
    need = Need("shop", "SHOP__", {"postgres"}, host=host)
    folder.chmod(0o711)
    with ProcessGroup(folder / "logs") as group:
        environ = {"PATH": os.environ["PATH"]}
        variables = start([need], folder / "stand_ins", group, lambda _: None, environ)

        url = variables["SHOP__POSTGRES_URL"]
        words = ("psql", url, "--tuples-only", "--no-align", "--command", "select current_user")
        assert container_engine.docker("run", "--rm", "--network", network, "postgres:17", *words) == "shop"


def test_without_an_engine_there_is_no_gateway(place: ContainerPlace) -> None:
    assert gateway(place, {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}) is None
