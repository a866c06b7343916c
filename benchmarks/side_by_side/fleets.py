"""Many tenants of 100 models each, by the sides that are served: until all is loaded, and what it uses at rest.

The sides take turns at each number of tenants, one at a time, so that neither rests beside the other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.measures import Quantity, Reading, SideName
from benchmarks.side_by_side.processes import named, pss_mb, rss_mb, shares_of_a_core
from benchmarks.side_by_side.projects import tenants
from benchmarks.side_by_side.served import Side
from benchmarks.side_by_side.sides import served_side

AT_REST: frozenset[Quantity] = frozenset({"pss", "webserver_rss", "daemon_rss", "rest_cpu"})
Found = dict[Reading, list[float]]


@dataclass(frozen=True)
class Rest:
    """How rest is looked at.

    Attributes:
        settle_seconds: after all was loaded and the graph was asked for: caches fill, what is idle retires.
        watch_seconds: over which processor time is counted.
    """

    settle_seconds: float = 90.0
    watch_seconds: float = 120.0


def measure(
    wanted: frozenset[Reading],
    samples: int,
    folder: Path,
    found: Found,
    notes: list[Mapping[str, Any]],
    rest: Rest = Rest(),
) -> None:
    """Take the readings of fleets, from the smallest to the largest.

    Args:
        wanted: what is to be read; nothing else is started.
        samples: how often to start each.
        folder: everything is below it.
        found: where the samples of each reading go, as they are taken: a larger fleet's failure loses no smaller one.
        notes: where it goes what each process uses at rest.
        rest: how rest is looked at.

    Raises:
        BenchmarkError: a side did not come to serve.
    """
    sizes = sorted({reading.size for reading in wanted})
    with ExitStack() as stack:
        names: tuple[SideName, ...] = ("vanilla", "ours")
        sides = [
            stack.enter_context(served_side(name, folder))
            for name in names
            if any(reading.side == name for reading in wanted)
        ]
        for size in sizes:
            _start_in_turns(sides, size, wanted, samples, rest, found, notes)
    with ExitStack() as stack:  # others, since the tenant with the policy keeps it
        for reading in sorted(reading for reading in wanted if reading.quantity == "rest_cpu_with_freshness"):
            side = stack.enter_context(served_side(reading.side, folder / "fresh"))
            side.prepare(tenants(reading.size), freshness=True)
            side.boot()
            values, _ = _at_rest(side, rest, watch=True)
            found[reading] = [values["rest_cpu"]]
            side.stop()


def _start_in_turns(
    sides: Sequence[Side],
    size: int,
    readings: frozenset[Reading],
    samples: int,
    rest: Rest,
    found: Found,
    notes: list[Mapping[str, Any]],
) -> None:
    """Start and end each side so often that everything of this size is read."""
    wanted = {
        side.name: {reading.quantity for reading in readings if (reading.side, reading.size) == (side.name, size)}
        for side in sides
    }
    served = [side for side in sides if wanted[side.name] & {"boot", *AT_REST}]
    for side in served:
        side.prepare(tenants(size))
    for turn in range(samples):
        is_last = turn == samples - 1
        for side in served:
            if "boot" not in wanted[side.name] and not is_last:
                continue
            seconds = side.boot()
            if "boot" in wanted[side.name]:
                found.setdefault(Reading(side.name, "boot", size), []).append(seconds)
            if is_last and wanted[side.name] & AT_REST:
                values, each = _at_rest(side, rest, watch="rest_cpu" in wanted[side.name])
                for quantity in wanted[side.name] & AT_REST:
                    found[Reading(side.name, quantity, size)] = [values[quantity]]
                notes.append({"side": side.name, "tenants": size, **each})
            side.stop()


def _at_rest(side: Side, rest: Rest, *, watch: bool) -> tuple[dict[Quantity, float], dict[str, Any]]:
    """What it uses once everything is loaded, was looked at and has come to rest; and each process of it.

    Args:
        watch: whether its processor time is counted too, which takes the longest.
    """
    assets = side.webserver.number_of_assets()
    time.sleep(rest.settle_seconds)
    code, webserver, daemon = (side.processes(role) for role in ("code", "webserver", "daemon"))
    memory: dict[Quantity, float] = {
        "pss": pss_mb(code),
        "webserver_rss": rss_mb(webserver[0]),
        "daemon_rss": rss_mb(daemon[0]),
    }
    each = {"assets": assets, "code": named(code), "webserver": named(webserver), "daemon": named(daemon)}
    if not watch:
        return memory, each
    shares = shares_of_a_core(side.processes, ("webserver", "daemon", "code", "database"), rest.watch_seconds)
    by_role = {role: round(share, 2) for role, share in shares.items()}
    return {**memory, "rest_cpu": sum(shares.values())}, {**each, "rest_cpu": by_role}
