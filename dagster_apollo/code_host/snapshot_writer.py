"""Makes a location's snapshot: asks Dagster's own servicer what webserver and daemon will ask the front.

In a fork of the location's warm process, since the servicer has threads and an instance. What is in the file, and who
reads it, is `snapshots.py`.
"""

from __future__ import annotations

from typing import Any

from dagster_apollo.code_host.dagster_internals import (
    LoadedRepositories,
    SerializableErrorInfo,
    dagster_api_pb2,
    repository_origin,
    servicer,
)
from dagster_apollo.code_host.snapshots import (
    CURRENT_IMAGE,
    LIST_REPOSITORIES,
    job_entry,
    repository_entry,
    write_entries,
)


def write_snapshot(file: int, loaded: LoadedRepositories | SerializableErrorInfo, module: str, location: str) -> None:
    """Write the snapshot of a location into an open file; of one that failed to load, its load error alone."""
    answers = servicer(loaded, module, location, location)
    empty = dagster_api_pb2.Empty()
    replies: dict[str, Any] = {
        LIST_REPOSITORIES: answers.ListRepositories(dagster_api_pb2.ListRepositoriesRequest(), None),
        CURRENT_IMAGE: answers.GetCurrentImage(empty, None),
    }
    for name, repository in () if isinstance(loaded, SerializableErrorInfo) else loaded.definitions_by_name.items():
        origin = repository_origin(location, name)
        asked = dagster_api_pb2.ExternalRepositoryRequest(
            serialized_repository_python_origin=origin, defer_snapshots=True
        )
        replies[repository_entry(name)] = answers.ExternalRepository(asked, None)
        for job in repository.get_all_jobs():
            request = dagster_api_pb2.ExternalJobRequest(serialized_repository_origin=origin, job_name=job.name)
            replies[job_entry(name, job.name)] = answers.ExternalJob(request, None)
    write_entries(file, {name: reply.SerializeToString() for name, reply in replies.items()})
