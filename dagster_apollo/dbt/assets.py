"""A tenant's models, seeds, snapshots and tests as one Dagster op, subset as Dagster asks.

What Dagster selects is exactly what dbt is told to run, tests named one by one, so that what ran can be held against
it. Sources, their freshness and tests that no model leads to are `sources.py`.

No `from __future__ import annotations` here: Dagster reads the annotations of an op as objects.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import Field

from dagster_apollo import interruptions
from dagster_apollo.dbt.dagster_dbt_internals import (
    ALL_OF_THE_PROJECT,
    DAGSTER_DBT_UNIQUE_ID_METADATA_KEY,
    build_dbt_specs,
    select_unique_ids,
)
from dagster_apollo.dbt.manifest import runs, selection_names
from dagster_apollo.dbt.partitions import backfill_policy, days_of
from dagster_apollo.dbt.results import (
    built_in_silence,
    connection_refused,
    held_to_selection,
    read_results,
    unfinished_nodes,
)
from dagster_apollo.dbt.retries import Invoke, UnfinishedError, with_retries
from dagster_apollo.dbt.stream import DagsterDbtEvent, DbtEvents
from dagster_apollo.dbt.translation import TenantTranslator, one_line
from dagster_apollo.dbt.workspace import Workspace
from dagster_apollo.errors import ContainerError, Problem, SettingsError
from dagster_apollo.execution import arguments
from dagster_apollo.execution.arguments import Build
from dagster_apollo.execution.command import Command
from dagster_apollo.lineage import resource as lineage


class BuildConfig(dg.Config):
    """What a person may change for one run, in the launchpad."""

    full_refresh: bool = Field(False, description="Build incremental models anew, from nothing.")
    select: list[str] = Field([], description="dbt's node selection; narrows what Dagster selected.")
    exclude: list[str] = Field([], description="dbt's node selection of what to leave out.")
    vars: dict[str, Any] = Field({}, description="dbt's `--vars`. No secrets: dbt logs them.")
    target: str = Field("", description="A target of the profile to build in; empty: the location's own.")


def dbt_assets(
    workspace: Workspace, manifest: Mapping[str, Any], translator: TenantTranslator, carry_out: Invoke | None = None
) -> dg.AssetsDefinition | None:
    """Everything that `dbt build` builds; `None` for a project without models, seeds and snapshots.

    Args:
        workspace: the tenant, ready for dbt.
        manifest: its slim manifest.
        translator: names its nodes.
        carry_out: takes the place of `invoke` where dbt runs elsewhere.
    """
    tenant = workspace.tenant.name
    partitions = workspace.tenant.config.partitions
    specs, check_specs = build_dbt_specs(
        translator=translator,
        manifest=manifest,
        select="fqn:*",
        exclude="",
        selector="",
        io_manager_key=None,
        project=None,
    )
    if not specs:
        return None
    checks = {spec.key: unique_id(spec) for spec in check_specs}
    assets = {spec.key: spec.metadata[DAGSTER_DBT_UNIQUE_ID_METADATA_KEY] for spec in specs}
    daily = {spec.key: spec.key.path[-1] for spec in specs if spec.partitions_def}

    @dg.multi_asset(
        name=f"{tenant}__dbt_build",
        specs=specs,
        check_specs=check_specs,
        can_subset=True,
        allow_arbitrary_check_specs=True,
        op_tags=ALL_OF_THE_PROJECT,
        required_resource_keys=lineage.resource_keys(tenant, workspace.values),
        backfill_policy=backfill_policy(partitions) if partitions else None,
        # One run of a tenant's dbt at a time, whoever launches it: the limit of every pool is 1 in dagster.yaml.
        pool=tenant,
    )
    def dbt_build(context: dg.AssetExecutionContext, config: BuildConfig) -> Iterator[DagsterDbtEvent]:
        selected = {assets[key] for key in context.selected_asset_keys}
        selected |= {checks[key] for key in context.selected_asset_check_keys if key in checks}
        everything = selected == {*assets.values(), *checks.values()}
        if config.select or config.exclude:
            selected &= _narrowed(manifest, config)
            everything = False
            if not selected:
                raise dg.Failure("select and exclude of the run's config leave nothing of what Dagster selected.")
        if config.target and config.target not in workspace.profile.targets:
            known = ", ".join(workspace.profile.targets)
            raise dg.Failure(f"The run's config names the target {config.target!r}; there are: {known}.")
        names = [daily[key] for key in context.selected_asset_keys if key in daily]
        days = days_of(context, partitions, names, full_refresh=config.full_refresh) if partitions and names else None
        wanted = Build((), config.full_refresh, config.vars, config.target or None, days)
        run_dbt = carry_out or invoke
        yield from _build(run_dbt, context, workspace, manifest, translator, selected, wanted, everything=everything)

    return dbt_build


def unique_id(spec: dg.AssetCheckSpec) -> str:
    """The slim manifest's unique id of the test behind a check."""
    return str((spec.metadata or {})[DAGSTER_DBT_UNIQUE_ID_METADATA_KEY])


def _build(
    run_dbt: Invoke,
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    manifest: Mapping[str, Any],
    translator: TenantTranslator,
    selected: Collection[str],
    wanted: Build,
    *,
    everything: bool,
) -> Iterator[DagsterDbtEvent]:
    """One `dbt build`; before it a `dbt seed`, where sources are filled by seeds that dbt does not know to be first."""
    if everything:  # also what is no asset's check
        selected = {*selected, *manifest["apollo"]["unattached_tests"]}
    seeds_first = workspace.tenant.config.seeds_first
    hidden = manifest["apollo"]["seeds_first"]
    if seeds_first or (seeds_first is None and hidden):
        seeds = {key for key in selected if key.startswith("seed.") and (seeds_first or key in hidden)}
        if seeds:
            chosen = _select(wanted, manifest, seeds)
            yield from with_retries(run_dbt, context, workspace, manifest, translator, seeds, arguments.seed, chosen)
            selected = set(selected) - seeds
    if selected:
        # Said, not left out: a project's default selector would narrow a bare `dbt build`. And not said where there is
        # something else that it would run: seeds that are loaded, tests on sources that have an op of their own, what
        # the tenant leaves out.
        said = (
            everything
            and not manifest["apollo"].get("excluded")
            and set(selected) == {key for key, node in manifest["nodes"].items() if runs(node)}
        )
        chosen = replace(wanted, select=["fqn:*"]) if said else _select(wanted, manifest, selected)
        yield from with_retries(run_dbt, context, workspace, manifest, translator, selected, arguments.build, chosen)


def _select(wanted: Build, manifest: Mapping[str, Any], selected: Collection[str]) -> Build:
    return replace(wanted, select=selection_names(manifest, selected))


def _narrowed(manifest: Mapping[str, Any], config: BuildConfig) -> set[str]:
    select, exclude = " ".join(config.select) or "fqn:*", " ".join(config.exclude)
    try:
        return set(select_unique_ids(select, exclude, "", None, manifest))
    except Exception as error:
        told = f"dbt cannot read the selection {select!r}, {exclude!r} of the run's config: {one_line(error)}"
        raise dg.Failure(told) from None


def invoke(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
    workspace: Workspace,
    manifest: Mapping[str, Any],
    translator: TenantTranslator,
    selected: Collection[str],
    words: Sequence[str],
) -> Iterator[DagsterDbtEvent]:
    """Run dbt, stream its events, and fail unless everything selected ended well."""
    require_services(workspace)
    with workspace.run_folder(context.run.run_id) as target_path:
        process = workspace.dbt(words, target_path, run_id=context.run.run_id)
        said = " ".join(words) if len(words) < 50 else f"{words[0]} ({len(selected)} nodes)"
        context.log.info(f"dbt {said}{workspace.where}")
        events = DbtEvents(
            manifest, translator, target_path, process.bring, workspace.tenant.config.log_level == "debug"
        )
        yield from read_events(events, process, context)
        results = read_results(target_path)
        lineage.tell(context, workspace.tenant.name, target_path)
    problems = held_to_selection(manifest, selected, results, events.errors, process.returncode)
    problems += built_in_silence(manifest, results, events.reported)
    if problems:
        if process.returncode is not None and process.returncode < 0:  # by a signal that was not ours
            mark_killed(context)
        refused = None if results else connection_refused(workspace.profile, events.errors)
        # A dbt that died on the way has said of some nodes that they are built, and of none what the rest came to.
        in_vain = refused or (events.reported and not results)
        again = set() if in_vain else unfinished_nodes(manifest, selected, results)
        raise UnfinishedError([refused] if refused else problems, again)


def mark_killed(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> None:
    """Say of the run that what then fails is no fault of its own: what is left of it is taken up by another."""
    if added := interruptions.marks("killed", context.run.run_id, context.run.tags):
        context.instance.add_run_tags(context.run.run_id, added)


def require_services(workspace: Workspace) -> None:
    """The settings of the tenant's services, or the step's failure that names those that are missing."""
    try:
        workspace.require_services()
    except SettingsError as error:
        raise failure(error.problems) from None


def read_events(
    events: DbtEvents, process: Command, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext
) -> Iterator[DagsterDbtEvent]:
    """Start dbt and read what it reports, to its end; a container that does not come to that is the step's failure."""
    try:
        # Closed whatever goes wrong with an event: dbt must not build on after its step has failed.
        with closing(process.lines()) as lines:
            yield from events.read(lines, context)
    except ContainerError as error:
        if error.kind in ("killed", "out_of_memory"):
            mark_killed(context)
        raise failure(error.problems) from None
    for note in process.notes:
        context.log.warning(note)


def failure(problems: Sequence[Problem]) -> dg.Failure:
    """The problems as the step's failure: each line names the thing, what is wrong and what to do."""
    return dg.Failure("\n".join(str(problem) for problem in problems))
