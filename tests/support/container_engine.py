"""A real container engine for tests: the machine's, else the tests' own, running for as long as it is held.

Which one, its start and its stop are `scripts/test_parts/with_engine.sh`'s. Images are built and containers run by
`docker` itself: a test that starts some removes them, since the machine's engine is not the tests' own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.parts import MissingPart

WITH_ENGINE = Path(__file__).parents[2] / "scripts" / "test_parts" / "with_engine.sh"
_NO_ENGINE = 3
# Tells which variables make a process use the engine, and stays until its input ends: also when its parent is killed.
_HOLDER = "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read()"
_VARIABLES = ("PATH", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "HOME")


@dataclass(frozen=True)
class ContainerEngine:
    """An engine that answers.

    Attributes:
        environ: the variables that make `docker` and `docker compose` use it, and nothing else of this process.
    """

    environ: Mapping[str, str] = field(repr=False)

    def docker(
        self,
        *arguments: str,
        stdin: str | None = None,
        environ: Mapping[str, str] | None = None,
        timeout_seconds: float = 600,
    ) -> str:
        """What a `docker` command prints, without the white space around it.

        Args:
            environ: variables that it is given beside the engine's.

        Raises:
            RuntimeError: when the command fails, with what it said.
        """
        done = self.run(arguments, stdin=stdin, environ=environ, timeout_seconds=timeout_seconds)
        if done.returncode:
            raise RuntimeError(
                f"docker {' '.join(arguments[:3])} … ended with {done.returncode}:\n{done.stderr[-4000:]}"
            )
        return done.stdout.strip()

    def run(
        self,
        arguments: Sequence[str],
        stdin: str | None = None,
        environ: Mapping[str, str] | None = None,
        timeout_seconds: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """The same, for a command that may fail."""
        return subprocess.run(
            [self._program, *arguments],
            env={**self.environ, **(environ or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )

    @property
    def _program(self) -> str:
        # The engine's PATH decides, not this process': an older `docker` may come first there.
        return shutil.which("docker", path=self.environ["PATH"]) or "docker"


@contextmanager
def running_container_engine() -> Iterator[ContainerEngine]:
    """The engine; the tests' own is stopped after its last user.

    Raises:
        MissingPart: when there is none on this machine and none was made.
    """
    holder = subprocess.Popen(
        [str(WITH_ENGINE), sys.executable, "-c", _HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests; this one goes when they are done
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stderr is not None
    try:
        first = holder.stdout.readline()
        if not first:
            said = holder.stderr.read().strip()
            if holder.wait() == _NO_ENGINE:
                raise MissingPart(f"no container engine: {said}")
            raise RuntimeError(f"{WITH_ENGINE.name} ended with {holder.returncode}: {said}")
        environ = json.loads(first)
        yield ContainerEngine({name: environ[name] for name in _VARIABLES if name in environ})
    finally:
        holder.stdin.close()
        holder.wait(120)
        holder.stdout.close()
        holder.stderr.close()
