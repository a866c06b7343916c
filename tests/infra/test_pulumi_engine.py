"""The stack through Pulumi's own engine: up, a second look that finds nothing, a changed tenant, down without a trace.

It runs wherever a `pulumi` command is, and on GitHub Actions always; nowhere else is the provider's own view of these
resources to be had (tests/infra/test_provider_traps.py says what it was seen to be).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dagster_apollo.host.backup import back_up, restore, stopped
from dagster_apollo.host.postgres_programs import PostgresPrograms
from infra.down import take_down
from infra.engine import Engine
from infra.up import bring_up
from tests.support.container_engine import ContainerEngine
from tests.support.deployed_stack import TENANT, Credentials, DeployedStack
from tests.support.images import REPOSITORY, built
from tests.support.ports import free_port
from tests.support.tools import required

pytestmark = pytest.mark.slow

ROLES = ("dagster-code", "dagster-daemon", "dagster-webserver")
# What `preview --expect-no-changes` ends with when it finds nothing.
NOTHING_CHANGES = 0


@dataclass
class Deployment:
    """A fork's folder, and the engine and port that it is brought up on."""

    root: Path
    name: str
    port: int
    environ: dict[str, str]
    engine: ContainerEngine

    def up(self) -> None:
        bring_up(self.environ, self.root, port=self.port)

    def pulumi(self) -> Engine:
        return Engine.find(self.environ, "local", self.root / "infra")

    def ids(self) -> dict[str, str]:
        """Every container's id, by its service's name."""
        rows = self.engine.docker(
            "ps", "--all", "--no-trunc", "--filter", f"label=dagster-apollo.fork={self.name}",
            "--format", '{{.Label "dagster-apollo.service"}} {{.ID}}',
        )  # fmt: skip
        return dict(row.split() for row in rows.splitlines())

    def left(self) -> list[str]:
        """What is on the engine of it: containers, volumes, networks."""
        asked = (["ps", "--all", "--format", "{{.Names}}"], ["volume", "ls", "--quiet"],
                 ["network", "ls", "--format", "{{.Name}}"])  # fmt: skip
        found = [name for words in asked for name in self.engine.docker(*words).split()]
        return [name for name in found if name.startswith(self.name)]


@pytest.fixture(scope="module")
def deployment(module_folder: Path, container_engine: ContainerEngine) -> Iterator[Deployment]:
    required("pulumi")
    with built(container_engine):
        pass  # its layers are what counts: the engine builds the same
    root, name = module_folder / "fork", f"engine-{uuid.uuid4().hex[:8]}"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for path in filter(None, tracked):
        if (REPOSITORY / path).is_file():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / path, root / path)
    (root / ".venv").symlink_to(REPOSITORY / ".venv")
    # Sizes with which the machine sets the pace, not a limit.
    plans = '[plans]\ncode = "2c-4g"\ndatabase = "basic-4gb"\n'
    (root / "apollo.toml").write_text(f'name = "{name}"\n{plans}')
    environ = {**container_engine.environ, "HOME": os.environ["HOME"]}
    environ["PATH"] = f"{environ['PATH']}{os.pathsep}{Path(required('pulumi')).parent}"
    deployment = Deployment(root, name, free_port(), environ, container_engine)
    yield deployment
    if deployment.left():
        take_down(environ, root, data=True)


def test_it_comes_up_stays_as_it_is_changes_by_what_changed_and_leaves_nothing(deployment: Deployment) -> None:
    credentials = Credentials()
    (deployment.root / "access.yaml").write_text(credentials.access_file())
    stack = DeployedStack(f"http://127.0.0.1:{deployment.port}", credentials)

    deployment.up()
    stack.wait_until_it_serves(TENANT)
    stack.assert_strangers_are_refused()
    stack.assert_the_login_lets_people_in()
    built_first = stack.run()
    history = stack.history()
    assert set(history) == built_first

    first = deployment.ids()
    assert deployment.pulumi().run("preview", "--expect-no-changes") == NOTHING_CHANGES
    deployment.up()
    assert deployment.ids() == first

    model = deployment.root / "tenants" / TENANT / "models" / "marts" / "dimensions" / "dim_brands.sql"
    model.write_text(model.read_text() + "\n-- changed\n")
    deployment.up()
    changed = deployment.ids()
    assert {service for service in first if changed[service] != first[service]} == {"dagster-code"}
    assert deployment.pulumi().run("preview", "--expect-no-changes") == NOTHING_CHANGES
    stack.wait_until_it_serves(TENANT)
    assert stack.history() == history

    database = PostgresPrograms.in_container(changed["dagster-postgres"], deployment.environ)
    file = deployment.root / "backup.dump"
    saved = back_up(database, file)
    one = min(key for key in history if "/ref_" in key)
    assert stack.build(one) == {one}
    with stopped([changed[role] for role in ROLES], deployment.environ):
        assert restore(database, file, overwrite=True, daemon_stopped=True) == saved
    stack.wait_until_it_serves(TENANT)
    assert stack.history() == history

    # No value of a secret is in the state, its backups or the stack's file.
    secrets = [credentials.token, *(line for line in credentials.access_file().splitlines() if "argon2" in line)]
    kept = [path for path in (deployment.root / "infra").rglob("*") if path.is_file() and path.name != "passphrase"]
    secrets += json.loads(deployment.pulumi().entry("variables") or "{}").values()
    readable = "\n".join(path.read_text(errors="replace") for path in kept)
    assert [secret[:4] for secret in secrets if len(secret) > 20 and secret in readable] == []

    take_down(deployment.environ, deployment.root)
    assert deployment.ids() == {}
    assert sorted(deployment.left()) == [f"{deployment.name}_postgres", f"{deployment.name}_state"]
    deployment.up()
    stack.wait_until_it_serves(TENANT)
    assert stack.history() == history

    take_down(deployment.environ, deployment.root, data=True)
    assert deployment.left() == []
