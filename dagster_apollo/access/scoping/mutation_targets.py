"""What a GraphQL mutation is about and how it ended, for the audit: names and ids, never what was sent with them.

Run configuration, tags and metadata may hold secrets, so nothing is taken from a mutation's arguments but the fields
that are named here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dagster_apollo.access.scoping.ownership import selector_ids
from dagster_apollo.access.scoping.scope import Refused
from dagster_apollo.access.scoping.scoped_context import ScopedRequestContext
from dagster_apollo.locations import tenant_of

Outcome = Literal["ok", "refused", "failed"]
_LOCATIONS = frozenset({"repositoryLocationName", "locationName"})
_RUNS = frozenset({"runId", "runIds", "parentRunId", "rootRunId"})
_BACKFILLS = frozenset({"backfillId"})
_ASSETS = frozenset({"assetKey", "assetKeys", "assetSelection"})
# Schedules and sensors are named by `origin id::selector id`, or by the latter alone.
_INSTIGATORS = frozenset({"id", "scheduleSelectorId", "jobSelectorId"})
# The answers of mutations of several runs, each part an answer of its own.
_SEVERAL = ("terminateRunResults", "launchMultipleRunsResult")
_MOST = 100


@dataclass
class Targets:
    """What is named in a mutation's arguments."""

    tenants: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    backfills: set[str] = field(default_factory=set)
    assets: set[str] = field(default_factory=set)

    def as_details(self) -> dict[str, list[str]]:
        """Lists of bounded length, those that are empty left out."""
        named = {"tenants": self.tenants, "runs": self.runs, "backfills": self.backfills, "assets": self.assets}
        return {name: sorted(values)[:_MOST] for name, values in named.items() if values}


def targets_of(arguments: Mapping[str, Any], context: ScopedRequestContext) -> Targets:
    """Read the arguments; a tenant is named by its location, its assets, or a run or backfill of it that is visible."""
    found = Targets()
    for name, value in _named(arguments):
        if name in _LOCATIONS:
            found.tenants.add(tenant_of(value))
        elif name in _RUNS:
            found.runs.add(value)
        elif name in _BACKFILLS:
            found.backfills.add(value)
        elif name in _INSTIGATORS:
            found.tenants |= _tenants_of_instigator(value.rpartition(":")[2], context)
        elif name in _ASSETS:
            found.assets.add(value)
            found.tenants.add(value.partition("/")[0])
    for run_id in sorted(found.runs)[:_MOST]:
        run = context.instance.get_run_by_id(run_id)
        if run and run.remote_job_origin:
            found.tenants.add(tenant_of(run.remote_job_origin.location_name))
    for backfill_id in sorted(found.backfills)[:_MOST]:
        backfill = context.instance.get_backfill(backfill_id)
        if backfill and backfill.asset_selection:
            found.tenants |= {key.path[0] for key in backfill.asset_selection}
        elif backfill and backfill.partition_set_origin:
            found.tenants.add(tenant_of(backfill.partition_set_origin.selector.location_name))
    return found


def _named(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The texts in nested arguments, each with the field that it stands in; an asset key as `one/two`."""
    if isinstance(value, Mapping):
        path = value.get("path")
        if name in _ASSETS and isinstance(path, list):
            yield name, "/".join(map(str, path))
            return
        for key, entry in value.items():
            yield from _named(entry, key)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _named(entry, name)
    elif isinstance(value, str):
        yield name, value


def _tenants_of_instigator(selector_id: str, context: ScopedRequestContext) -> set[str]:
    return {
        tenant_of(location.name)
        for location in context.code_locations
        for repository in location.get_repositories().values()
        if selector_id in selector_ids(repository)
    }


def add_made(targets: Targets, result: object) -> None:
    """Name also the run or the backfill that a mutation launched."""
    for part in (result, *_parts(result)):
        made = getattr(getattr(part, "run", None), "runId", None)
        if isinstance(made, str):
            targets.runs.add(made)
        if isinstance(backfill := getattr(part, "backfill_id", None), str):
            targets.backfills.add(backfill)


def _parts(result: object) -> list[object]:
    return [part for several in _SEVERAL for part in getattr(result, several, None) or ()]


def outcome_of(result: object) -> Outcome:
    """How a mutation ended that raised nothing: most answer with a success or with one of many kinds of error.

    Of a mutation of several runs, the worst of theirs.
    """
    kind = type(result).__name__.removeprefix("Graphene")
    if parts := _parts(result):
        outcomes = {outcome_of(part) for part in parts}
        return "refused" if "refused" in outcomes else "failed" if "failed" in outcomes else "ok"
    if kind == "UnauthorizedError" or getattr(result, "_className", None) == Refused.__name__:
        return "refused"
    failed = kind.endswith(("Error", "Failure", "Conflict", "Invalid", "NotFound", "NotSupported")) or result is False
    return "failed" if failed else "ok"
