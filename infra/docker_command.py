"""The `docker` command, for what Pulumi's provider does not do: building, and looking at what is there.

A failure is told with what `docker` said. Containers and volumes are found by the names that the program gives them.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster_apollo.errors import Problem
from infra.engine import EngineError

_LOG_LINES = "30"


@dataclass(frozen=True)
class Docker:
    """The `docker` command for one engine.

    Attributes:
        command: the command and the engine that it is for.
        environ: what it is given.
    """

    command: tuple[str, ...]
    environ: Mapping[str, str]

    @classmethod
    def find(cls, environ: Mapping[str, str], host: str | None) -> Docker:
        """Look for `docker`.

        Raises:
            EngineError: when it is not on the PATH, or no engine answers.
        """
        command = shutil.which("docker", path=environ.get("PATH"))
        if command is None:
            remedy = "Install Docker (https://docs.docker.com/engine/install/)."
            raise EngineError([Problem("docker", "is not on the PATH", remedy)])
        docker = cls((command, *(("--host", host) if host else ())), environ)
        docker.ask("version", "--format", "{{.Server.Version}}")
        return docker

    def ask(self, *words: str) -> str:
        """What a command prints.

        Raises:
            EngineError: when it fails.
        """
        ended = subprocess.run(
            [*self.command, *words], env=dict(self.environ), capture_output=True, text=True, check=False
        )
        if ended.returncode:
            what = f"`docker {words[0]}` said: {ended.stderr.strip()[-2000:]}"
            raise EngineError([Problem("docker", what, "Is the engine running, and may this user use it?")])
        return ended.stdout.strip()

    def build(self, root: Path, stage: str, tag: str, arguments: Mapping[str, str] | None = None) -> str:
        """Build one stage of the Dockerfile, with its progress shown; the image's id, `sha256:…`.

        Args:
            root: the folder that is built from.
            stage: the stage.
            tag: the name that the image gets beside its id.
            arguments: of the Dockerfile; none is a secret.

        Raises:
            EngineError: when it fails.
        """
        with tempfile.TemporaryDirectory(prefix="apollo-image-") as folder:
            file = Path(folder) / "id"
            given = [word for name, text in (arguments or {}).items() for word in ("--build-arg", f"{name}={text}")]
            words = ["build", "--target", stage, "--tag", tag, "--iidfile", str(file), *given, str(root)]
            ended = subprocess.run([*self.command, *words], env=dict(self.environ), check=False)
            if ended.returncode:
                remedy = "What it said stands above; a tenant that does not parse is named there."
                raise EngineError([Problem(f"image {tag}", "was not built", remedy)])
            return file.read_text().strip()

    def volumes(self, names: Sequence[str]) -> list[str]:
        """Those of these volumes that are there."""
        there = set(self.ask("volume", "ls", "--format", "{{.Name}}").split())
        return [name for name in names if name in there]

    def remove_volumes(self, names: Sequence[str]) -> None:
        """Remove volumes with all that is in them."""
        if found := self.volumes(names):
            self.ask("volume", "rm", *found)

    def unwell(self, names: Sequence[str]) -> dict[str, str]:
        """The end of the log of every one of these containers that does not run or is not healthy, by name."""
        listed = self.ask("ps", "--all", "--format", "{{.Names}}\t{{.Status}}")
        rows = [line.split("\t") for line in listed.splitlines()]
        return {
            f"{name} ({status})": self._log(name)
            for name, status in rows
            if name in names and (not status.startswith("Up") or "unhealthy" in status or "starting" in status)
        }

    def _log(self, name: str) -> str:
        ended = subprocess.run(
            [*self.command, "logs", "--tail", _LOG_LINES, name],
            env=dict(self.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.stdout.rstrip()
