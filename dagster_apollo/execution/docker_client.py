"""The container engine by its library: reached, and its refusals in our words.

The one module that knows how `docker`, the library, connects, fails and hands out its socket; what is done with an
engine is `docker_runner.py`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests.exceptions
import urllib3.exceptions

from dagster_apollo.errors import ContainerError, ContainerFailure, Problem

# An engine that has not answered a request in this long is taken for dead; a pull tells its progress meanwhile.
ENGINE_TIMEOUT_SECONDS = 60
_FIRST_ANSWER_SECONDS = 10
# How the library tells that nobody is there, or no longer; the last is raised while a body is read.
_CONNECTION_ERRORS = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    docker.errors.DockerException,
    OSError,
)


class Engine:
    """A container engine that answered.

    Attributes:
        client: the library's client.
        address: where it is, for messages.
        without_engine: what a message names as the way out.
    """

    def __init__(self, environ: Mapping[str, str], without_engine: str) -> None:
        """Connect to the engine that `docker` itself would use: DOCKER_HOST, else the current context.

        Raises:
            ContainerError: nothing answers.
        """
        self.without_engine = without_engine
        self.address = environ.get("DOCKER_HOST") or "the machine's own"
        try:
            self.client = docker.from_env(environment=dict(environ), timeout=_FIRST_ANSWER_SECONDS)
            self.address = environ.get("DOCKER_HOST") or _readable(self.client.api.base_url)
            self.client.ping()
        except _CONNECTION_ERRORS as error:
            raise self.gone(error) from None
        self.client.api.timeout = ENGINE_TIMEOUT_SECONDS
        if folder := environ.get("DOCKER_CONFIG"):  # the library asks this process' variables, not those given
            self.client.api.reload_config(str(Path(folder) / "config.json"))

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def gone(self, error: BaseException) -> ContainerError:
        """The error of an engine that does not answer, or no longer."""
        remedy = f"Start it: `docker info` must answer. {self.without_engine}"
        what = f"the container engine does not answer: {_last_words(error)}"
        return ContainerError("no_engine", Problem(self.address, what, remedy))

    @contextlib.contextmanager
    def refusals(self, kind: ContainerFailure, where: str, remedy: str) -> Iterator[None]:
        """Turn what the engine refuses into an error of this kind; a connection that is lost stays what it is."""
        try:
            yield
        except docker.errors.APIError as error:
            raise ContainerError(kind, Problem(where, explained(error), remedy)) from None
        except _CONNECTION_ERRORS as error:
            raise self.gone(error) from None

    def attach(self, name: str) -> socket.socket:
        """A container's standard input and outputs as a socket; before its start, so that no line is lost."""
        with self.refusals("start_refused", name, ""):
            raw = self.client.api.attach_socket(name, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        # The library gives a reader without time-outs over the socket that is wanted.
        attached: socket.socket = getattr(raw, "_sock", raw)
        return attached

    def rootless(self) -> bool:
        """Whether the engine is a user's own: root inside is that user outside."""
        with self.refusals("no_engine", self.address, ""):
            return "name=rootless" in (self.client.info().get("SecurityOptions") or [])

    def own_mounts(self, hostname: str) -> list[Mapping[str, Any]]:
        """The mounts of the container that this process runs in, where it is one of this engine's."""
        try:
            mounts: list[Mapping[str, Any]] = self.client.api.inspect_container(hostname)["Mounts"]
        except docker.errors.NotFound:
            return []
        except _CONNECTION_ERRORS as error:
            raise self.gone(error) from None
        return mounts


def explained(error: docker.errors.APIError) -> str:
    """The engine's own words."""
    return " ".join(str(error.explanation or error).split()).rstrip(".")


def _readable(base_url: str) -> str:
    """The library's address as `docker` writes it: of a socket it keeps `http+docker://localhost` alone."""
    return "the machine's own" if base_url.startswith("http+docker") else base_url


def _last_words(error: BaseException) -> str:
    """Of nested connection errors the innermost's: `Connection refused`, and not the objects around it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    if isinstance(error, TimeoutError):
        return "it keeps silent"
    return str(getattr(error, "strerror", None) or error).rstrip(".")
