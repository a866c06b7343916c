"""`apollo materialize`: the assets that dbt's selection names, built by runs as the page would launch them.

By the webserver and not in this process: such a run waits for another one of its tenant, is recorded, watched and taken
up again, and it does not end with a terminal. dbt's own command, past Dagster, is `apollo dbt`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from dagster_apollo.dbt.dagster_dbt_internals import select_unique_ids
from dagster_apollo.dbt.exclusion import without_excluded
from dagster_apollo.dbt.manifest import is_asset
from dagster_apollo.dbt.translation import asset_keys, one_line
from dagster_apollo.errors import HostError, Problem, TenantError
from dagster_apollo.host.webserver_client import ASSET_JOB, Asset, WebserverClient
from dagster_apollo.tenant import Tenant

_POLL_SECONDS = 1.0
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
_BACKFILL_ENDED = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
Key = tuple[str, ...]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What a person asks for.

    Attributes:
        select, exclude: dbt's node selection.
        days: `2026-01-31`, `2026-01-01:2026-01-31` or `all`, for what is partitioned by day.
        full_refresh: build incremental models from nothing.
    """

    select: str = "fqn:*"
    exclude: str = ""
    days: str | None = None
    full_refresh: bool = False


@dataclass(frozen=True)
class Planned:
    """What will be launched in one code location.

    Attributes:
        location: its name.
        keys: of the assets.
        tags: of the run.
        days: those of a backfill, a run each; empty: it is one run.
        config: of the run.
        needs_others: whether some of it is built from what another location builds of the same selection.
    """

    location: str
    keys: Sequence[Key]
    tags: Mapping[str, str]
    days: Sequence[str]
    config: Mapping[str, Any]
    needs_others: bool


@dataclass(frozen=True)
class Launched:
    """What was launched in one code location.

    Attributes:
        location: its name.
        id: of the run, or of the backfill that makes runs.
        is_backfill: which of the two.
    """

    location: str
    id: str
    is_backfill: bool


def selected_keys(tenant: Tenant, manifest: Mapping[str, Any], wanted: Wanted) -> set[Key]:
    """The keys of the assets that a selection names.

    Args:
        tenant: whose.
        manifest: its slim manifest.
        wanted: the selection.

    Raises:
        TenantError: dbt cannot read it, or it names nothing that is built.
    """
    heading = f"{tenant.name} cannot be materialized"
    manifest = without_excluded(tenant, manifest)
    try:
        selected = select_unique_ids(wanted.select, wanted.exclude, "", None, manifest)
    except Exception as error:
        remedy = "Give dbt's node selection: https://docs.getdbt.com/reference/node-selection/syntax"
        raise TenantError([Problem("--select", f"dbt cannot read it: {one_line(error)}", remedy)], heading) from None
    keys = asset_keys(tenant.name, manifest)
    nodes = manifest["nodes"]
    found = {tuple(keys[key].path) for key in selected if key in nodes and is_asset(nodes[key])}
    if not found:
        told = f"{wanted.select!r} without {wanted.exclude!r}" if wanted.exclude else repr(wanted.select)
        remedy = f"`apollo dbt {tenant.name} -- ls` lists what there is."
        what = f"{told} names no model, seed or snapshot of {tenant.name}"
        raise TenantError([Problem("--select", what, remedy)], heading)
    return found


def planned(
    webserver: WebserverClient, tenant: str, locations: Sequence[str], keys: set[Key], wanted: Wanted
) -> list[Planned]:
    """A run in each code location that builds some of the assets; a backfill where each day has its own run.

    Nothing is launched. What is built from another location's assets comes after them.

    Args:
        webserver: who is asked.
        tenant: whose assets.
        locations: the tenant's code locations.
        keys: the assets' keys.
        wanted: what else is asked for.

    Raises:
        HostError: the webserver cannot answer, an asset is not there, or the days do not fit.
    """
    by_location: dict[str, list[Asset]] = {}
    problems = []
    for location in locations:
        assets = webserver.assets(location)
        if assets is None:
            problems.append(Problem(location, "its location does not load", f"See {webserver.address}/locations."))
        chosen = [asset for asset in assets or [] if asset.is_materializable and asset.key in keys]
        if chosen:
            by_location[location] = chosen
    builder = {asset.key: location for location, assets in by_location.items() for asset in assets}
    if (unknown := keys - builder.keys()) and not problems:
        names = ", ".join("/".join(key) for key in sorted(unknown)[:5])
        problems.append(Problem(names, "the webserver does not know it", "Reload the location: it is of another day."))
    if problems:
        raise HostError(problems, f"{tenant} cannot be materialized")
    config = {"ops": {f"{tenant}__dbt_build": {"config": {"full_refresh": True}}}} if wanted.full_refresh else {}
    needed = {
        location: {builder[key] for asset in assets for key in asset.needs if key in builder} - {location}
        for location, assets in by_location.items()
    }
    return [
        _plan(location, by_location[location], wanted, config, needs_others=bool(needed[location]))
        for location in _in_order(needed)
    ]


def _in_order(needed: Mapping[str, set[str]]) -> list[str]:
    """Each after those that it needs; those that need each other as they were given."""
    order: list[str] = []
    while left := [name for name in needed if name not in order]:
        order.append(next((name for name in left if needed[name] <= set(order)), left[0]))
    return order


def _plan(
    location: str, assets: Sequence[Asset], wanted: Wanted, config: Mapping[str, Any], *, needs_others: bool
) -> Planned:
    partitions = next((asset.partitions for asset in assets if asset.partitions), None)
    tags: dict[str, str] = {}
    each_day: list[str] = []
    if partitions is not None:
        first, last = days_between(wanted.days, partitions.first, partitions.last)
        if first == last:
            tags = {"dagster/partition": first}
        elif partitions.in_one_run:
            tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        else:
            each_day = _every_day(first, last)
    return Planned(location, [asset.key for asset in assets], tags, each_day, config, needs_others)


def launch(webserver: WebserverClient, plan: Planned) -> Launched:
    """Launch one of them.

    Raises:
        HostError: the webserver cannot answer, or refuses.
    """
    if plan.days:
        backfill = webserver.launch_backfill(plan.keys, plan.days, plan.config)
        return Launched(plan.location, backfill, is_backfill=True)
    run_id = webserver.launch(plan.location, ASSET_JOB, plan.keys, plan.tags, plan.config)
    return Launched(plan.location, run_id, is_backfill=False)


def days_between(asked: str | None, first: str, last: str) -> tuple[str, str]:
    """The first and the last day that are asked for.

    Args:
        asked: as `Wanted.days`.
        first, last: of those that there are.

    Raises:
        HostError: none are asked for, or other ones than there are.
    """
    there_are = f"Give `--days {last}`, `--days {first}:{last}` or `--days all`."
    if asked is None:
        raise HostError([Problem("--days", "some of these models are partitioned by day", there_are)])
    if asked == "all":
        return first, last
    begin, _, end = asked.partition(":")
    end = end or begin
    try:
        in_order = date.fromisoformat(begin) <= date.fromisoformat(end)
    except ValueError:
        in_order = False
    if not in_order:
        raise HostError([Problem("--days", f"{asked!r} is neither a day nor two in order", there_are)])
    if begin < first or end > last:
        raise HostError([Problem("--days", f"{asked} is not among {first} to {last}", there_are)])
    return begin, end


def _every_day(first: str, last: str) -> list[str]:
    begin = date.fromisoformat(first)
    count = (date.fromisoformat(last) - begin).days + 1
    return [(begin + timedelta(days=day)).isoformat() for day in range(count)]


def watch(webserver: WebserverClient, launched: Launched, say: Say) -> bool:
    """Say how a run or a backfill goes on until it has ended; whether it ended well."""
    if launched.is_backfill:
        return _watch_backfill(webserver, launched, say)
    told = ""
    while True:
        state = webserver.state(launched.id)
        line = f"{launched.location}: {state.status.lower()}, {state.materializations} built"
        if line != told:
            say(line)
            told = line
        if state.status in _ENDED:
            break
        time.sleep(_POLL_SECONDS)
    if state.status != "SUCCESS":
        say(f"{launched.location}: {webserver.why_it_failed(launched.id)}\n    {webserver.address}/runs/{launched.id}")
    return state.status == "SUCCESS"


def _watch_backfill(webserver: WebserverClient, launched: Launched, say: Say) -> bool:
    told = ""
    while True:
        state = webserver.backfill_state(launched.id)
        well = sum(status == "SUCCESS" for _, status in state.runs)
        line = (
            f"{launched.location}: backfill {state.status.lower()}, {well} of {len(state.runs)} runs succeeded so far"
        )
        if line != told:
            say(line)
            told = line
        if state.status in _BACKFILL_ENDED:
            break
        time.sleep(_POLL_SECONDS)
    failed = [run_id for run_id, status in state.runs if status != "SUCCESS"]
    if state.error:
        say(f"{launched.location}: {state.error}")
    for run_id in failed[:5]:
        say(f"{launched.location}: {webserver.why_it_failed(run_id)}\n    {webserver.address}/runs/{run_id}")
    return not failed and state.status in ("COMPLETED", "COMPLETED_SUCCESS")
