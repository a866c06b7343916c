"""A real image registry for tests, on the loopback interface, gone with its images afterwards.

Debian's `docker-registry` comes with the tests' own engine; a machine with an engine of its own pulls `registry:2`.
`docker` pushes to 127.0.0.1 without TLS. Asking it about images is plain HTTP (https://distribution.github.io/distribution/spec/api/).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.container_engine import ContainerEngine
from tests.support.ports import free_port

START_TIMEOUT_SECONDS = 60.0
_IMAGE = "registry:2"
_PORT_INSIDE = 5000
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True)
class Registry:
    """A running registry.

    Attributes:
        address: host and port, as the first part of an image's name.
    """

    address: str

    @property
    def url(self) -> str:
        """Its HTTP address."""
        return f"http://{self.address}"

    def digest(self, repository: str, reference: str = "latest") -> str | None:
        """The digest (`sha256:…`) that a tag stands for; None when there is no such image."""
        answer = httpx.head(
            f"{self.url}/v2/{repository}/manifests/{reference}",
            headers={"Accept": ", ".join(_MANIFESTS)},
            trust_env=False,
        )
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return answer.raise_for_status().headers["docker-content-digest"]


@contextmanager
def running_registry(engine: ContainerEngine) -> Iterator[Registry]:
    """An empty registry of its own.

    Raises:
        RuntimeError: when it does not start.
    """
    registry = Registry(f"127.0.0.1:{free_port()}")
    program = shutil.which("docker-registry", path=engine.environ["PATH"])
    with _as_process(program, registry) if program else _as_container(engine, registry):
        yield registry


@contextmanager
def _as_process(program: str, registry: Registry) -> Iterator[None]:
    folder = Path(tempfile.mkdtemp(prefix="apollo-registry-"))
    try:
        port = registry.address.rpartition(":")[2]
        (folder / "config.yml").write_text(_CONFIG.format(folder=folder / "images", port=port))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, "serve", str(folder / "config.yml")], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={}
            )
        try:
            if not _answers(registry, lambda: process.poll() is None):
                raise RuntimeError(f"the registry did not start:\n{(folder / 'log').read_text()[-2000:]}")
            yield
        finally:
            process.terminate()
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _as_container(engine: ContainerEngine, registry: Registry) -> Iterator[None]:
    container = engine.docker("run", "--detach", "--publish", f"{registry.address}:{_PORT_INSIDE}", _IMAGE)
    try:
        if not _answers(registry, lambda: True):
            raise RuntimeError(f"the registry did not start:\n{engine.docker('logs', container)[-2000:]}")
        yield
    finally:
        engine.docker("rm", "--force", "--volumes", container)


def _answers(registry: Registry, lives: Callable[[], bool]) -> bool:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while lives() and time.monotonic() < end:
        try:
            httpx.get(f"{registry.url}/v2/", trust_env=False).raise_for_status()
            return True
        except httpx.HTTPError:
            time.sleep(0.05)
    return False
