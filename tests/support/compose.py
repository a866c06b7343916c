"""A fork's clone on a Docker host: its own `.env`, its own images, brought up by `docker compose` as a person does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_apollo.access.identity import access_file, access_source
from dagster_apollo.new_fork import Answers, prepare_docker_host, write_fork
from tests.support.checkout import copy_checkout
from tests.support.container_engine import ContainerEngine
from tests.support.deployed_stack import Credentials, DeployedStack
from tests.support.ports import free_port

UP_TIMEOUT_SECONDS = 1800.0
PROJECT_LABEL, SERVICE_LABEL = "com.docker.compose.project", "com.docker.compose.service"


@dataclass(frozen=True)
class ComposeHost:
    """A clone and the containers of its `compose.yaml`.

    Attributes:
        engine: where they run.
        clone: the clone's folder, which the test may change.
        project: what Compose calls it.
        stack: how it is reached.
        overrides: further Compose files.
    """

    engine: ContainerEngine
    clone: Path
    project: str
    stack: DeployedStack
    overrides: tuple[Path, ...] = field(default=())

    def compose(self, *words: str, timeout_seconds: float = UP_TIMEOUT_SECONDS) -> str:
        """What `docker compose …`, typed in the clone, prints."""
        files = [word for file in (self.clone / "compose.yaml", *self.overrides) for word in ("--file", str(file))]
        where = ["--project-directory", str(self.clone), "--project-name", self.project]
        done = self.run("compose", *where, *files, *words, timeout_seconds=timeout_seconds)
        assert done.returncode == 0, f"docker compose {' '.join(words)}:\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def run(self, *words: str, timeout_seconds: float = UP_TIMEOUT_SECONDS) -> subprocess.CompletedProcess[str]:
        """A `docker` command that may fail."""
        return self.engine.run(words, timeout_seconds=timeout_seconds)

    def up(self, *words: str) -> None:
        """`docker compose up`, until every container is healthy."""
        self.compose("up", "--detach", "--wait", *words)

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine says of every container, by the service's name."""
        ids = self.engine.docker("ps", "--all", "--quiet", "--filter", f"label={PROJECT_LABEL}={self.project}").split()
        found = json.loads(self.engine.docker("inspect", *ids)) if ids else []
        return {each["Config"]["Labels"][SERVICE_LABEL]: each for each in found}

    def incarnations(self) -> dict[str, tuple[str, str]]:
        """Each container's id and when it was started: what changes when anything is done to it."""
        return {name: (each["Id"], each["State"]["StartedAt"]) for name, each in self.containers().items()}

    def environment(self, service: str) -> dict[str, str]:
        """The variables that a container was started with."""
        texts = self.containers()[service]["Config"]["Env"]
        return dict(text.split("=", 1) for text in texts)

    def logs(self) -> str:
        """The end of what every container said."""
        parts = []
        for name, each in self.containers().items():
            done = self.run("logs", "--tail", "60", each["Id"])
            parts.append(f"--- {name}\n{done.stdout}{done.stderr}")
        return "\n".join(parts)

    def leftovers(self) -> list[str]:
        """What the engine still has of it, but for images."""
        listed = []
        for kind in ("container", "network", "volume"):
            every = ["--all"] if kind == "container" else []
            named = self.engine.docker(
                kind, "ls", *every, "--quiet", "--filter", f"label={PROJECT_LABEL}={self.project}"
            )
            listed += [f"{kind} {name}" for name in named.split()]
        return listed

    def down(self) -> None:
        """Remove all of it, its data too."""
        self.compose("down", "--volumes", "--remove-orphans")


@contextmanager
def compose_host(
    engine: ContainerEngine,
    folder: Path,
    project: str,
    *,
    fields: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Iterator[ComposeHost]:
    """A clone with its own fork, ready for `up`; whatever became of it is removed in the end, its images too.

    Args:
        engine: where it is to run.
        folder: below it the clone is made.
        project: a name that nobody else uses on this engine.
        fields: fields of `apollo.toml`.
        overrides: further Compose files, by name, with their texts.
    """
    clone = copy_checkout(folder / "clone")
    # A name of no registry: the images of another test, or of a person, keep theirs.
    write_fork(clone, Answers({"name": project, "image": f"test.invalid/apollo/{project}", **(fields or {})}, {}))
    credentials = Credentials()
    access_source.change(
        clone / "access.yaml", lambda _: access_file.parse(credentials.access_file(), "the test's own")
    )  # fmt: skip
    prepare_docker_host(clone, clone / "access.yaml", administrator=None)
    port = free_port()
    with (clone / ".env").open("a") as written:
        written.write(f"PORT={port}\n")
    extra = []
    for name, text in (overrides or {}).items():
        extra.append(clone / name)
        extra[-1].write_text(text)
    host = ComposeHost(
        engine, clone, project, DeployedStack(f"http://127.0.0.1:{port}", credentials), tuple(extra)
    )  # fmt: skip
    try:
        yield host
    finally:
        host.down()
        tags = [f"test.invalid/apollo/{project}:{tag}" for tag in ("local", "local-host")]
        host.run("image", "rm", "--force", *tags)
