"""What we use of Dagster to execute a run in a fork, beyond its public names, in this one place.

`core_execute_run` is what stock run processes call: it loads the job, executes it and says in the run's log what keeps
it from that. It takes a job that can be loaded anew; ours has been loaded already.

`JobDefinition.get_subset`: what is left of a job when some assets are selected. Dagster makes it anew for each of the
three that ask before the first step of such a run, each time from all assets; a location's processes keep the last few.

`create_unexecutable_external_asset_from_assets_def`: what stands for the assets that are not selected is made of each
asset's spec with two attributes changed, for every subset anew; a location's processes keep the changed specs.

`metadata_set.model_fields`: the fields of one of Dagster's classes, which it puts together anew for each asset.

`_get_execution_plan_from_run`: a run's process reads the plan that was stored with it for two things that only a run
that goes on from another has.

`tests/contracts/test_warm_internals.py` names what an upgrade moves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Set
from functools import cache
from typing import Any

from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    DagsterInstance,
    DagsterRun,
    JobDefinition,
    RepositoryDefinition,
)
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions import external_asset
from dagster._core.definitions.assets.definition.asset_spec import SYSTEM_METADATA_KEY_IO_MANAGER_KEY
from dagster._core.definitions.metadata import metadata_set
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.events import EngineEventData
from dagster._core.execution import api
from dagster._core.remote_origin import RemoteJobOrigin
from dagster._grpc.impl import core_execute_run
from dagster._grpc.types import ExecuteExternalJobArgs, JobSubsetSnapshotArgs, StartRunResult
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.interrupts import capture_interrupts
from dagster._utils.warnings import disable_dagster_warnings

__all__ = [
    "EngineEventData",
    "ExecuteExternalJobArgs",
    "JobSubsetSnapshotArgs",
    "RemoteJobOrigin",
    "StartRunResult",
    "WarmRepository",
    "capture_interrupts",
    "core_execute_run",
    "deserialize_value",
    "instance_of",
    "job_of",
    "keep_subsets",
    "leave_plan_unread",
    "make_subset",
    "serializable_error_info_from_exc_info",
    "serialize_value",
]

# One is some megabytes of a project of a thousand models.
_KEPT_SUBSETS = 4


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


def keep_subsets() -> None:
    """Have this process keep the last subsets of jobs that it was asked for; it never loads a job anew.

    And of what makes one: what depends on no selection.
    """
    make = JobDefinition.get_subset
    kept: OrderedDict[tuple[Any, ...], tuple[JobDefinition, JobDefinition]] = OrderedDict()

    def get_subset(
        job: JobDefinition,
        *,
        op_selection: Iterable[str] | None = None,
        asset_selection: Set[Any] | None = None,
        asset_check_selection: Set[Any] | None = None,
    ) -> JobDefinition:
        if op_selection or not asset_selection:
            return make(
                job,
                op_selection=op_selection,
                asset_selection=asset_selection,
                asset_check_selection=asset_check_selection,
            )
        checks = None if asset_check_selection is None else frozenset(asset_check_selection)
        key = (id(job), frozenset(asset_selection), checks)
        if (found := kept.get(key)) is None:
            subset = make(job, asset_selection=asset_selection, asset_check_selection=asset_check_selection)
            found = kept[key] = (job, subset)
            if len(kept) > _KEPT_SUBSETS:
                kept.popitem(last=False)
        return found[1]

    JobDefinition.get_subset = get_subset  # type: ignore[method-assign, assignment]
    external_asset.create_unexecutable_external_asset_from_assets_def = _standing_for()  # type: ignore[assignment]
    metadata_set.model_fields = cache(metadata_set.model_fields)


def _standing_for() -> Callable[[AssetsDefinition], AssetsDefinition]:
    """What stands in a job for assets that it does not build: their specs, and where they are read from."""
    kept: dict[tuple[AssetKey, str | None], tuple[AssetSpec, AssetSpec]] = {}

    def spec_of(assets: AssetsDefinition, key: AssetKey) -> AssetSpec:
        built = assets.get_asset_spec(key)
        read_by = assets.get_io_manager_key_for_asset_key(key) if assets.has_output_for_asset_key(key) else None
        found = kept.get((key, read_by))
        if found is None or found[0] != built:
            metadata = {} if read_by is None else {SYSTEM_METADATA_KEY_IO_MANAGER_KEY: read_by}
            spec = built.merge_attributes(metadata=metadata).replace_attributes(automation_condition=None)
            found = kept[key, read_by] = (built, spec)
        return found[1]

    def stand_for(assets: AssetsDefinition) -> AssetsDefinition:
        if not assets.is_executable:
            return assets
        with disable_dagster_warnings():
            return AssetsDefinition(
                specs=[spec_of(assets, key) for key in assets.keys], resource_defs=assets.resource_defs
            )

    return stand_for


def make_subset(repository: RepositoryDefinition, arguments: str) -> None:
    """Make the subset of a job that a call of `ExternalPipelineSubsetSnapshot` asks for, and its schema, to be kept."""
    wanted = deserialize_value(arguments, JobSubsetSnapshotArgs)
    subset = repository.get_maybe_subset_job_def(
        wanted.job_origin.job_name,
        op_selection=wanted.op_selection,
        asset_selection=wanted.asset_selection,
        asset_check_selection=wanted.asset_check_selection,
    )
    assert subset.run_config_schema  # noqa: S101  made when it is first asked for


def leave_plan_unread() -> None:
    """Have this process, a run's, not read the plan that was stored with the run where nothing is read in it."""
    read = api._get_execution_plan_from_run

    def plan_of(job: ReconstructableJob, run: DagsterRun, instance: DagsterInstance) -> Any:
        if run.parent_run_id or not isinstance(job.repository, WarmRepository):
            return read(job, run, instance)
        return api.create_execution_plan(
            job,
            run_config=run.run_config,
            step_keys_to_execute=run.step_keys_to_execute,
            instance_ref=instance.get_ref() if instance.is_persistent else None,
            tags=run.tags,
        )

    api._get_execution_plan_from_run = plan_of  # type: ignore[assignment]
