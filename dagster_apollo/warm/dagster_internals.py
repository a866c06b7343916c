"""What we use of Dagster to execute a run in a fork, beyond its public names, in this one place.

`core_execute_run` is what stock run processes call: it loads the job, executes it and says in the run's log what keeps
it from that. It takes a job that can be loaded anew; ours has been loaded already.

`tests/contracts/test_warm_internals.py` names what an upgrade moves.
"""

from __future__ import annotations

from typing import Any

from dagster import DagsterInstance, JobDefinition, RepositoryDefinition
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import RemoteJobOrigin
from dagster._grpc.impl import core_execute_run
from dagster._grpc.types import ExecuteExternalJobArgs, StartRunResult
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils import get_run_crash_explanation
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.interrupts import capture_interrupts

__all__ = [
    "EngineEventData",
    "ExecuteExternalJobArgs",
    "RemoteJobOrigin",
    "StartRunResult",
    "WarmRepository",
    "capture_interrupts",
    "core_execute_run",
    "deserialize_value",
    "get_run_crash_explanation",
    "instance_of",
    "job_of",
    "serializable_error_info_from_exc_info",
    "serialize_value",
]


class WarmRepository(ReconstructableRepository):
    """A code location's definitions that are loaded already, where Dagster asks for ones that can be loaded."""

    _definition: RepositoryDefinition

    @classmethod
    def of(cls, definition: RepositoryDefinition, module: str, attribute: str) -> WarmRepository:
        """The definitions, and where another process would load them from."""
        warm = cls(ModuleCodePointer(module=module, fn_name=attribute, working_directory=None))
        warm._definition = definition
        return warm

    def get_definition(self) -> RepositoryDefinition:
        return self._definition

    def with_repository_load_data(self, metadata: Any) -> WarmRepository:
        """The same: with that data a repository is loaded, and this one is."""
        return self


def job_of(repository: WarmRepository, name: str) -> ReconstructableJob:
    """A job to execute: warm where its steps run in the run's own process; else loaded anew, as its steps will be."""
    job: JobDefinition = repository.get_definition().get_job(name)
    if job.executor_def.name == "in_process":
        return ReconstructableJob(repository, name)
    return ReconstructableJob(ReconstructableRepository(repository.pointer), name)


def instance_of(arguments: ExecuteExternalJobArgs) -> DagsterInstance:
    """The instance that a run was launched by."""
    assert arguments.instance_ref is not None  # noqa: S101  a launcher always says it
    return DagsterInstance.from_ref(arguments.instance_ref)
