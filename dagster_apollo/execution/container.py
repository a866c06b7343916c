"""What is asked of a container and what it answers: the seam between a tenant's dbt and whoever holds an engine.

A place says where commands run and is decided by whoever may speak to the engine, from the tenant's `tenant.yaml`; a
task says what runs there and comes from the tenant. The engine itself is `docker_runner.py`; another runner hands tasks
to a process that holds the engine's socket. Nothing here knows Dagster, dbt or the `docker` library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

# A folder inside that anybody may write, whatever user the image has; it goes with the container.
INSIDE = "/apollo"

Pull = Literal["NEVER", "IF_NOT_PRESENT", "ALWAYS"]


def engine_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those variables that say which engine there is, and how it is reached.

    https://docs.docker.com/reference/cli/docker/#environment-variables
    """
    return {name: value for name, value in environ.items() if name.startswith("DOCKER_")}


@dataclass(frozen=True)
class ContainerPlace:
    """Where a tenant's commands run. Never taken from the tenant's own process.

    Attributes:
        tenant: whose, letters, digits and `_`; a label of the container.
        image: its name, with a tag or digest.
        declared_in: where a person changes all this; for messages.
        without_engine: what a person does where there is no engine; for messages.
        pull: when it is pulled.
        network: the network that the container is attached to; None: the engine's own.
        volumes: `volume-or-path:/inside[:ro]`; the paths are the engine's.
        environment: plain variables, which yield to a task's.
        memory_mb: the most memory, in MiB; no swap beside it.
        timeout_seconds: the longest that a command may run, from its start.
        shared_folder: a folder of this machine that is seen inside under the same path, such as that of a DuckDB file.
            Commands then run as this process' user, so that both may write what is in it.
        image_folders: by a variable of the image that names a folder in it, a path of this machine under which that
            folder is found too, and which the variable then names.
        locks_dir: where a file a container is held locked while somebody waits for it; what a killed process left
            running is known by it.
        user: `uid:gid` in place of this process' with a shared folder, and of the image's without one.
    """

    tenant: str
    image: str
    locks_dir: Path
    declared_in: str
    without_engine: str = ""
    pull: Pull = "IF_NOT_PRESENT"
    network: str | None = None
    volumes: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_mb: int | None = None
    timeout_seconds: int = 3600
    shared_folder: Path | None = None
    image_folders: Mapping[str, Path] = field(default_factory=dict)
    user: str | None = None


@dataclass(frozen=True)
class ContainerTask:
    """What one container is to do.

    Attributes:
        words: the program and its arguments. No secrets: the engine shows them to whoever asks it.
        environment: the command's variables. They reach it over its standard input: neither `docker inspect` nor a
            file holds them.
        folder: the working folder, inside; None: the image's own.
        files: contents by absolute path, inside; put there before the start, readable for everybody inside.
        folders: folders inside, writable for everybody inside, made before the start.
        also_at: a path under which the image's working folder is found too; what was made on this machine, as dbt's
            partial parse, knows files by the paths of this machine.
        made_of: the digest of the files that the image should have been built from; None: any will do.
        run_id: the Dagster run that it belongs to, as a label.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    folders: tuple[str, ...] = ()
    also_at: str | None = None
    made_of: str | None = None
    run_id: str | None = None


class RunningContainer(Protocol):
    """A container that was started. Leaving the context that gave it stops and removes it, whatever happened."""

    @property
    def returncode(self) -> int | None:
        """The command's exit code, 128 and the signal's number where one ended it; None until `lines()` has ended."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth a line in the run's log, known from the start: what could not be checked of the image."""

    def lines(self) -> Iterator[str]:
        """What the command prints on both its outputs, line by line as it comes, until it ends.

        Raises:
            ContainerError: it did not end by itself: out of memory, out of time, killed, or the engine is gone.
        """

    def bring(self, inside: str, to: Path) -> bool:
        """Copy a file, or a folder's content, out of the container: while it runs, and after its end.

        Returns:
            Whether there was anything at that path.

        Raises:
            ContainerError: the engine is gone.
        """


class ContainerRunner(Protocol):
    """Starts containers in one place."""

    def run(self, task: ContainerTask) -> AbstractContextManager[RunningContainer]:
        """Start a container for a task; on leaving, it is stopped (an interrupt first, then a kill) and removed.

        Raises:
            ContainerError: it cannot be started; nothing is left of it.
        """
