"""What is used of dagster-docker beyond its public names, in one place.

It starts `dagster api execute_run` alone, where ours is `apollo run`: its last step is called directly. A test holds
the name to the form used here.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import DagsterRun
from dagster_docker import DockerRunLauncher

from dagster_apollo.elsewhere.dagster_internals import without_wishes

__all__ = ["DockerRunLauncher", "create_container"]


def create_container(launcher: DockerRunLauncher, run: DagsterRun, image: str, words: Sequence[str]) -> None:
    """Start a run's container with other words than dagster-docker's own."""
    launcher._launch_container_with_command(without_wishes(run), image, list(words))
