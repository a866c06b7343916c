"""The image that was tested is the one that is pushed: a real engine, registry, and archive between two runners."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from dagster_apollo.deploy.push import push
from dagster_apollo.errors import DeployError
from tests.support.container_engine import ContainerEngine
from tests.support.registry import Registry

PATH = "team/warehouse"


def build(engine: ContainerEngine, folder: Path, content: str) -> str:
    """An image of one file; gives its id."""
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY content /content\n")
    (folder / "content").write_text(content)
    engine.docker("build", "--quiet", "--tag", "push-test", str(folder))
    return engine.docker("image", "inspect", "--format", "{{.Id}}", "push-test")


def test_an_archive_becomes_the_same_image_in_the_registry_by_its_digest(
    container_engine: ContainerEngine, registry: Registry, folder: Path
) -> None:
    image_id = build(container_engine, folder / "a", "an image of the push test")
    archive, repository = folder / "image.tar", f"{registry.address}/{PATH}"
    container_engine.docker("save", "--output", str(archive), image_id)
    container_engine.docker("image", "rm", "--force", image_id)
    try:
        pushed = push(repository, image_id, ["abc123"], archive, environ=container_engine.environ)
    finally:
        container_engine.run(["image", "rm", "--force", image_id])

    assert str(pushed) == f"{repository}@{registry.digest(PATH, 'abc123')}"
    accept = {
        "Accept": "application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.manifest.v1+json"
    }
    url = f"{registry.url}/v2/{PATH}/manifests/{pushed.digest}"
    manifest = json.loads(httpx.get(url, headers=accept, trust_env=False).raise_for_status().text)
    assert manifest["config"]["digest"] == image_id


def test_the_first_image_gets_the_tag_that_a_blueprint_begins_with_and_a_later_one_leaves_it(
    container_engine: ContainerEngine, registry: Registry, folder: Path
) -> None:
    images = [build(container_engine, folder / name, f"the {name} image of the push test") for name in ("one", "two")]
    repository = f"{registry.address}/team/begun"
    try:
        first, second = (
            push(repository, image_id, [tag], first_tag="main", environ=container_engine.environ)
            for image_id, tag in zip(images, ("one", "two"), strict=True)
        )
    finally:
        container_engine.run(["image", "rm", "--force", *images])

    assert first != second
    assert registry.digest("team/begun", "two") == second.digest
    assert registry.digest("team/begun", "main") == first.digest


def test_an_archive_of_another_image_is_not_pushed(
    container_engine: ContainerEngine, registry: Registry, folder: Path
) -> None:
    other = build(container_engine, folder / "b", "another image of the push test")
    archive = folder / "image.tar"
    container_engine.docker("save", "--output", str(archive), other)
    try:
        with pytest.raises(DeployError, match="there is no image"):
            push(
                f"{registry.address}/{PATH}", f"sha256:{'1' * 64}", ["other"], archive, environ=container_engine.environ
            )
    finally:
        container_engine.run(["image", "rm", "--force", other])

    assert registry.digest(PATH, "other") is None


def test_a_registry_that_is_not_there_is_told_with_what_docker_said(
    container_engine: ContainerEngine, folder: Path
) -> None:
    image_id = build(container_engine, folder / "c", "a third image of the push test")
    try:
        with pytest.raises(DeployError, match=r"127\.0\.0\.1:9/team/warehouse does not take the image: .+"):
            push("127.0.0.1:9/team/warehouse", image_id, ["abc123"], environ=container_engine.environ)
    finally:
        container_engine.run(["image", "rm", "--force", image_id])


def test_without_docker_that_is_what_is_said(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="docker: cannot be run"):
        push("ghcr.io/team/warehouse", f"sha256:{'1' * 64}", ["abc123"], environ={"PATH": str(tmp_path)})
