"""What a job is made of is kept as the code host sent it, and read when somebody looks at that job.

Dagster reads all jobs of a location when it loads it, and writes each out again to find its id: a third of the time in
which it loads 100 models. Webserver and daemon look at few of them, one after the other.

Private: `sync_get_external_repositories_data_grpc`, which `GrpcServerCodeLocation` asks for its repositories, its
`_job_ref_to_snap`, and where it keeps what it was given. `tests/contracts/` holds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dagster_apollo.host.dagster_internals import (
    DagsterUserCodeProcessError,
    GrpcServerCodeLocation,
    JobSnap,
    RemoteRepositoryOrigin,
    RepositoryErrorSnap,
    RepositorySnap,
    SerializableErrorInfo,
    deserialize_value,
    extract_serialized_job_snap_from_serialized_job_data_snap,
    snapshot_repository,
)


@dataclass(frozen=True)
class LateJob:
    """A job that nobody has looked at.

    Attributes:
        name: of the job.
        serialized: Dagster's `JobSnap`, as it was sent.
    """

    name: str
    serialized: str

    @property
    def snapshot_id(self) -> str:
        """What Dagster makes of the written form."""
        return hashlib.sha1(self.serialized.encode(), usedforsecurity=False).hexdigest()

    def read(self) -> JobSnap:
        """The job."""
        return deserialize_value(self.serialized, JobSnap)


def fetch_repositories(
    api_client: Any, code_location: Any, defer_snapshots: bool
) -> Mapping[str, tuple[RepositorySnap, Mapping[str, LateJob]]]:
    """The repositories of a location, and by name the jobs of each.

    Raises:
        DagsterUserCodeProcessError: what the location's code raised, or that a job of its is not sent.
    """
    found = {}
    for name in code_location.repository_names:
        origin = RemoteRepositoryOrigin(code_location_origin=code_location.origin, repository_name=name)
        sent = api_client.external_repository(remote_repository_origin=origin, defer_snapshots=defer_snapshots)
        repository = deserialize_value(sent, (RepositorySnap, RepositoryErrorSnap))
        if isinstance(repository, RepositoryErrorSnap):
            raise DagsterUserCodeProcessError.from_error_info(repository.error)
        refs = () if repository.has_job_data() else repository.get_job_refs()
        found[name] = repository, {ref.name: _fetch(api_client, origin, ref.name) for ref in refs}
    return found


def _fetch(client: Any, repository: RemoteRepositoryOrigin, name: str) -> LateJob:
    sent = client.external_job(repository, name)
    if not sent.serialized_job_data:
        raise DagsterUserCodeProcessError.from_error_info(
            deserialize_value(sent.serialized_error, SerializableErrorInfo)
            if sent.serialized_error
            else SerializableErrorInfo(f"The job {name} was asked for and not sent.\n", [], None)
        )
    return LateJob(name, extract_serialized_job_snap_from_serialized_job_data_snap(sent.serialized_job_data))


@contextmanager
def reading_jobs_late() -> Iterator[None]:
    """Have this process read jobs when they are looked at, as long as the block lasts."""
    location: Any = GrpcServerCodeLocation
    asked: Any = snapshot_repository
    fetch, data_of = asked.sync_get_external_repositories_data_grpc, location._job_ref_to_snap

    def our_data_of(self: Any, repository_name: str, job_ref: Any) -> Any:
        by_name, by_id = self._job_snaps_by_name[repository_name], self._job_snaps_by_snapshot_id
        for late in (by_name[job_ref.name], by_id.get(job_ref.parent_snapshot_id)):
            if isinstance(late, LateJob):
                by_name[late.name] = by_id[late.snapshot_id] = late.read()
        return data_of(self, repository_name, job_ref)

    asked.sync_get_external_repositories_data_grpc = fetch_repositories
    location._job_ref_to_snap = our_data_of
    try:
        yield
    finally:
        asked.sync_get_external_repositories_data_grpc = fetch
        location._job_ref_to_snap = data_of
