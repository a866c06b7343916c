"""Building what was never built, when a laptop's stack starts: which assets, in which runs, and what is said of it.

One run a code location, which Dagster orders by what its assets are built from; a location whose assets are built from
another's waits for that one. How the webserver is asked is `webserver_client.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dagster_apollo.errors import HostError
from dagster_apollo.host.webserver_client import ASSET_JOB, Asset, RunState, WebserverClient
from dagster_apollo.locations import tenant_of

_POLL_SECONDS = 1.0
_FINAL = {"SUCCESS", "FAILURE", "CANCELED"}
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_PARTITION = "dagster/partition"
Say = Callable[[str], None]


@dataclass
class _Build:
    """What is built in one code location.

    Attributes:
        location: its name.
        runs: the assets of each run that was not launched yet.
        waits_for: the locations that build what these assets are made of.
        run_id: the run that goes on.
        wanted: how often that one is to materialize an asset; 0: it checks the freshness of sources.
        status: of the last run that ended.
        told: the last line of its progress.
    """

    location: str
    runs: list[list[Asset]]
    waits_for: set[str]
    run_id: str | None = None
    wanted: int = 0
    status: str | None = None
    told: str = ""

    @property
    def is_over(self) -> bool:
        return self.run_id is None and (not self.runs or self.status in ("FAILURE", "CANCELED", "NOT LAUNCHED"))


def build_what_was_never_built(
    address: str,
    locations: Sequence[str],
    say: Say,
    still_running: Callable[[], None],
    token: str | None = None,
) -> dict[str, str]:
    """Launch runs for the assets that have no materialization, then check the freshness of sources; and watch.

    Of partitioned assets, all partitions are built where one run builds all of them, else the last one.

    Args:
        address: the webserver's.
        locations: the code locations.
        say: prints one line of progress.
        still_running: raises when the stack has ended.
        token: of `apollo tokens new`, where there is a login.

    Returns:
        The last run's status by location: only those of which something was built.
    """
    webserver = WebserverClient(address, token)
    builds = _planned(webserver, locations, say)
    while going_on := [build for build in builds.values() if not build.is_over]:
        still_running()
        idle = [build for build in going_on if build.run_id is None]
        ready = [build for build in idle if not any(not builds[name].is_over for name in build.waits_for)]
        if not ready and len(idle) == len(going_on):  # they wait for each other: Dagster shows what cannot be built
            ready = idle[:1]
        for build in ready:
            _launch_next(webserver, build, builds, say)
        time.sleep(_POLL_SECONDS)
        for build in going_on:
            if build.run_id is not None:
                _watch(webserver, build, say)
    for build in builds.values():
        if build.status == "SUCCESS":
            checks = [check for asset in webserver.assets(build.location) or [] for check in asset.checks]
            say(f"{build.location}: built; {checks.count('SUCCEEDED')} of {len(checks)} checks passed")
    return {build.location: build.status for build in builds.values() if build.status in _FINAL}


def _planned(webserver: WebserverClient, locations: Sequence[str], say: Say) -> dict[str, _Build]:
    missing: dict[str, list[Asset]] = {}
    for location in locations:
        assets = webserver.assets(location)
        if assets is None:
            say(f"{location}: its location does not load; the page shows why")
            continue
        known = [asset for asset in assets if asset.is_materializable]
        missing[location] = [asset for asset in known if not asset.is_built]
        if missing[location]:
            say(f"{location}: building {len(missing[location])} of {len(known)} assets")
        else:
            say(f"{location}: everything of {len(known)} assets was built before")
    builder = {asset.key: location for location, assets in missing.items() for asset in assets}
    return {
        location: _Build(
            location,
            _runs_of(assets),
            {builder[key] for asset in assets for key in asset.needs if key in builder} - {location},
        )
        for location, assets in missing.items()
        if assets
    }


def _runs_of(assets: Sequence[Asset]) -> list[list[Asset]]:
    """One for all, unless they are partitioned in several ways: those of each further way have a run of their own."""
    ways = list(dict.fromkeys(asset.partitions.definition for asset in assets if asset.partitions))
    first = [asset for asset in assets if asset.partitions is None or asset.partitions.definition == ways[0]]
    further = [
        [asset for asset in assets if asset.partitions is not None and asset.partitions.definition == way]
        for way in ways[1:]
    ]
    return [first, *further]


def _launch_next(webserver: WebserverClient, build: _Build, builds: dict[str, _Build], say: Say) -> None:
    if failed := [name for name in sorted(build.waits_for) if builds[name].status != "SUCCESS"]:
        say(f"{build.location}: is not built, since {', '.join(failed)} was not")
        build.status = "NOT LAUNCHED"
        return
    assets = build.runs.pop(0)
    partitions = next((asset.partitions for asset in assets if asset.partitions), None)
    tags: dict[str, str] = {}
    build.wanted = len(assets)
    if partitions and partitions.in_one_run:
        tags = dict(zip(_RANGE, (partitions.first, partitions.last), strict=True))
        build.wanted = sum(asset.partitions.count if asset.partitions else 1 for asset in assets)
    elif partitions:
        tags = {_PARTITION: partitions.last}
    _launch(webserver, build, ASSET_JOB, say, [asset.key for asset in assets], tags)


def _launch(
    webserver: WebserverClient,
    build: _Build,
    job: str,
    say: Say,
    keys: Sequence[Sequence[str]] = (),
    tags: dict[str, str] | None = None,
) -> None:
    """What keeps one location from being built keeps no other."""
    try:
        build.run_id = webserver.launch(build.location, job, keys, tags)
    except HostError as error:
        build.status = "NOT LAUNCHED"
        say(f"{build.location}: cannot be built\n" + "\n".join(f"    {problem}" for problem in error.problems))


def _watch(webserver: WebserverClient, build: _Build, say: Say) -> None:
    assert build.run_id is not None  # noqa: S101
    run_id, state = build.run_id, webserver.state(build.run_id)
    _tell_progress(build, state, say)
    if state.status not in _FINAL:
        return
    build.run_id, build.status = None, state.status
    freshness = f"{tenant_of(build.location)}__freshness"
    if state.status != "SUCCESS":
        say(f"{build.location}: {webserver.why_it_failed(run_id)}\n    {webserver.address}/runs/{run_id}")
    elif build.wanted and not build.runs and _is_unchecked(webserver, build.location, freshness):
        say(f"{build.location}: checking how fresh its sources are")
        build.wanted = 0
        _launch(webserver, build, freshness, say)


def _tell_progress(build: _Build, state: RunState, say: Say) -> None:
    line = f"{build.location}: {state.status.lower()}, {state.materializations} of {build.wanted} built"
    is_worth_it = build.wanted and (state.materializations % 10 == 0 or state.status in _FINAL)
    if is_worth_it and line != build.told:
        say(line)
        build.told = line


def _is_unchecked(webserver: WebserverClient, location: str, job: str) -> bool:
    unchecked = any(None in asset.checks for asset in webserver.assets(location) or [])
    return unchecked and webserver.has_job(location, job)
