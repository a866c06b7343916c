"""How this process starts its native dbt: as a program, or, in a run that was forked from a warm process, as a fork.

What forks is above; here is what it must be able to do, and the place where a run's process puts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from dagster_apollo.execution.command import Command


class DbtForks(Protocol):
    """Forks one dbt after another from a process that has parsed a project."""

    def has_parsed(self, words: Sequence[str], folder: Path) -> bool:
        """Whether what was parsed is what a command builds from; else it parses, as the program would.

        Args:
            words: the command and its arguments.
            folder: the project's.
        """

    def command(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> Command:
        """A dbt that is about to start.

        Args:
            words: the command and its arguments.
            environment: all of its variables.
            folder: the project's.
        """


class _ThisProcess:
    forks: DbtForks | None = None


def use_forks(forks: DbtForks) -> None:
    """From now on dbt is forked in this process, which is a run's."""
    _ThisProcess.forks = forks


def dbt_forks() -> DbtForks | None:
    """What forks dbt in this process; None: dbt is a program."""
    return _ThisProcess.forks
