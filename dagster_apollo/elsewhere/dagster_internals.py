"""What launchers use of Dagster beyond its public names, in one place.

Dagster has its run launchers as plug-ins whose base is not exported. What of dagster-docker and dagster-k8s is used
beyond their public names stands in `docker_internals.py` and `kubernetes_internals.py`, since only who uses an engine
imports its client. A test holds each name to the form used here.
"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.launcher import RunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._serdes import ConfigurableClass, ConfigurableClassData

__all__ = [
    "CheckRunHealthResult",
    "ConfigurableClass",
    "ConfigurableClassData",
    "LaunchRunContext",
    "RunLauncher",
    "WorkerStatus",
    "location_of",
    "told_by_location",
    "without_wishes",
]


def without_wishes(run: DagsterRun) -> DagsterRun:
    """A run without what its tenant's process, or whoever launched it, asks of an engine: image, mounts, rights.

    Both libraries merge such wishes into what they start; a tenant would start what it likes, as whom it likes.
    """
    origin = run.job_code_origin
    bare = origin and origin._replace(
        repository_origin=origin.repository_origin._replace(container_image=None, container_context=None)
    )
    tags = {name: value for name, value in run.tags.items() if not name.startswith("dagster-k8s/")}
    return run._replace(job_code_origin=bare, tags=tags)


def location_of(run: DagsterRun) -> str:
    """The code location that a run is of, by name; empty where it was launched from none."""
    return run.remote_job_origin.location_name if run.remote_job_origin else ""


def told_by_location(context: LaunchRunContext) -> dict[str, str]:
    """What the repository that a run is of says of itself: the texts among its metadata."""
    origin = context.dagster_run.remote_job_origin
    if origin is None or context.workspace is None or not context.workspace.has_code_location(origin.location_name):
        return {}
    location = context.workspace.get_code_location(origin.location_name)
    name = origin.repository_origin.repository_name
    if not location.has_repository(name):
        return {}
    entries = location.get_repository(name).repository_snap.metadata or {}
    return {key: str(entry.value) for key, entry in entries.items() if isinstance(entry.value, str)}
