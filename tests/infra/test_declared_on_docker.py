"""What the Pulumi program declares is a stack that works: made on a real engine, container by container, and used.

What Pulumi itself adds, a state and a second look, is test_pulumi_engine.py's; whole builds are also run there, and by
the tests of Compose.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.container_engine import ContainerEngine
from tests.support.deployed_stack import TENANT, Credentials, DeployedStack
from tests.support.images import Images, built
from tests.support.ports import free_port
from tests.support.pulumi_on_docker import brought_up, replace
from tests.support.pulumi_program import Program, declared
from tests.support.stack import BIN, bare_environment, run_to_its_end

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Host:
    """A Docker host with the stack on it."""

    program: Program
    declare: Callable[[Images], Program]
    images: Images
    other_images: Images
    stack: DeployedStack
    engine: ContainerEngine

    def container(self, service: str) -> str:
        """A container's name."""
        return str(self.program.containers[service].inputs["name"])

    def id_of(self, service: str) -> str:
        """A container's id."""
        return self.engine.docker("inspect", "--format", "{{.Id}}", self.container(service))


@pytest.fixture(scope="module")
def host(module_folder: Path, container_engine: ContainerEngine) -> Iterator[Host]:
    with built(container_engine) as images, built(container_engine, revision="another") as other_images:
        yield from _brought_up(container_engine, module_folder, images, other_images)


def _brought_up(engine: ContainerEngine, folder: Path, images: Images, other_images: Images) -> Iterator[Host]:
    credentials, port = Credentials(), free_port()
    variables = {
        "POSTGRES_PASSWORD": "p@ss/w%rd of-a:test",
        "APOLLO_CODE_TOKEN": uuid.uuid4().hex,
        "APOLLO_SESSION_SECRET": uuid.uuid4().hex + uuid.uuid4().hex,
        "APOLLO_ACCESS": credentials.access_file(),
    }
    # Sizes with which the machine sets the pace, not a limit.
    plans = '[plans]\ncode = "2c-4g"\ndatabase = "basic-4gb"\n'
    fork = f'name = "pulumi-{uuid.uuid4().hex[:8]}"\n{plans}'

    def declare(images: Images) -> Program:
        with pytest.MonkeyPatch.context() as patch:
            entries = {"image": images.host, "codeImage": images.full, "port": port, "variables": variables}
            return declared(folder, patch, fork, **entries)

    program = declare(images)
    with brought_up(program, engine):
        stack = DeployedStack(f"http://127.0.0.1:{port}", credentials)
        yield Host(program, declare, images, other_images, stack.wait_until_it_serves(TENANT), engine)


def test_it_is_used_and_replaced_and_restored_without_losing_history(host: Host, module_folder: Path) -> None:
    stack = host.stack
    stack.assert_strangers_are_refused()
    stack.assert_the_login_lets_people_in()

    references = sorted(key for key in stack.webserver.assets(TENANT) if "/ref_" in key)
    assert len(references) > 3
    assert stack.build(*references) == set(references)
    history = stack.history()
    assert set(history) == set(references)

    # With another image of the code host, as a changed tenant makes one, that container alone is another.
    before = {service: host.id_of(service) for service in host.program.containers}
    other = host.other_images
    assert (other.host == host.images.host, other.full == host.images.full) == (True, False)
    changed = host.declare(other).containers
    assert [name for name in changed if changed[name] != host.program.containers[name]] == ["dagster-code"]
    replace(changed["dagster-code"], host.engine)
    stack.wait_until_it_serves(TENANT)
    after = {service: host.id_of(service) for service in host.program.containers}
    assert {service for service in after if after[service] != before[service]} == {"dagster-code"}
    assert stack.history() == history

    # A backup holds what was there then, and brings it back; this fork's writers are stopped meanwhile, and run again.
    file, database = str(module_folder / "backup.dump"), ["--container", host.container("dagster-postgres")]
    environ = {**bare_environment(module_folder / "home"), **host.engine.environ}
    code, told = run_to_its_end([str(BIN / "apollo"), "backup", file, *database], environ)
    assert (code, f"{len(references)} assets" in told) == (0, True), told
    assert stack.build(references[0]) == {references[0]}
    assert stack.history() != history
    code, told = run_to_its_end([str(BIN / "apollo"), "restore", file, *database], environ)
    assert (code, "which would be lost" in told) == (1, True), told
    code, told = run_to_its_end([str(BIN / "apollo"), "restore", "--yes", file, *database], environ)
    assert (code, f"{len(references)} assets" in told) == (0, True), told
    stack.wait_until_it_serves(TENANT)
    assert stack.history() == history
    assert {service: host.id_of(service) for service in host.program.containers} == after
