"""One command, whether it runs natively or in a container: started by the reading of its lines, and ended with it.

The native one is `process.py`. What a command is given and where it writes is decided above; which of the two it is
makes no difference to who reads it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from dagster_apollo.execution.container import ContainerRunner, ContainerTask, RunningContainer


class Command(Protocol):
    """A command that is about to start."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, once `lines()` has ended."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth a line in a run's log; complete once `lines()` has given the first line."""

    def lines(self) -> Generator[str, None, None]:
        """Start it and yield what it prints. Whatever ends the iteration early also ends the command.

        Raises:
            ContainerError: it could not be started, or did not end by itself.
        """

    def bring(self, file: Path) -> None:
        """Have a file that the command has just written, below a folder of its results, here too."""


@dataclass
class ContainerCommand:
    """A command in a container.

    Attributes:
        runner: starts it.
        task: what it is.
        results: folders inside by the folders here that their contents are copied to, once it has ended.
    """

    runner: ContainerRunner
    task: ContainerTask
    results: Mapping[str, Path] = field(default_factory=dict)
    returncode: int | None = None
    notes: tuple[str, ...] = ()
    _container: RunningContainer | None = None

    def lines(self) -> Generator[str, None, None]:
        """Start the container and yield what it prints."""
        with self.runner.run(self.task) as container:
            self._container, self.notes = container, container.notes
            try:
                yield from container.lines()
                self.returncode = container.returncode
                for inside, here in self.results.items():
                    container.bring(inside, here)
            finally:
                self._container = None

    def bring(self, file: Path) -> None:
        """Copy one file of the results out of the running container."""
        for inside, here in self.results.items():
            if self._container and file.is_relative_to(here):
                self._container.bring(str(PurePosixPath(inside) / file.relative_to(here).as_posix()), file)
