"""What there is to measure, once: each measure's name, unit, what of ours it sets beside what of a peer, and its goal.

A reading is what one side shows of one quantity at one size; a measure is two of them and their ratio. How a reading is
taken stands in `runs.py` and `fleets.py`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

SideName = Literal["ours", "bare", "vanilla"]
Quantity = Literal[
    "launch",  # of a run that builds a whole project, until its success is seen
    "one_model",  # the same of one model with its test
    "run_memory",  # the most that such a run adds, all its processes
    "connections",  # opened by the code side from launch to success
    "event_bytes",  # stored of a run
    "saved",  # until a model that a person saved is on the page, in the local stack
    "boot",  # until the webserver has all locations; from here on the size is a number of tenants
    "pss",  # of the code side at rest
    "webserver_rss",
    "daemon_rss",
    "rest_cpu",  # of all processes at rest, the database's too
    "rest_cpu_with_freshness",  # the same, one tenant having a freshness policy of a minute
]
OF_RUNS: frozenset[Quantity] = frozenset({"launch", "one_model", "run_memory", "connections", "event_bytes"})
UNITS: Mapping[Quantity, str] = {
    "launch": "s", "one_model": "s", "run_memory": "MB", "connections": "connections", "event_bytes": "bytes",
    "saved": "s", "boot": "s", "pss": "MB", "webserver_rss": "MB", "daemon_rss": "MB", "rest_cpu": "% of a core",
    "rest_cpu_with_freshness": "% of a core",
}  # fmt: skip


@dataclass(frozen=True, order=True)
class Reading:
    """What is read: one quantity of one side.

    Attributes:
        side: whose.
        quantity: what.
        size: the project's for a run (9 nodes, or a number of models), else the number of tenants.
    """

    side: SideName
    quantity: Quantity
    size: int


@dataclass(frozen=True)
class Goal:
    """What is aimed at.

    Attributes:
        of: of the ratio to the peer, or of our own value.
        at_most: the bound, included.
    """

    of: Literal["ratio", "ours"]
    at_most: float


@dataclass(frozen=True)
class Measure:
    """One line of the results.

    Attributes:
        name: what `ONLY=` takes.
        title: for a person.
        ours, peer: the two readings.
        goal: None where none is set.
    """

    name: str
    title: str
    ours: Reading
    peer: Reading
    goal: Goal | None = None

    @property
    def unit(self) -> str:
        return UNITS[self.ours.quantity]

    @property
    def beside(self) -> str:
        """Whom ours is compared with, for a person; its size where that is another."""
        return self.peer.side if self.peer.size == self.ours.size else f"{self.peer.side}: {self.peer.size}"

    @property
    def readings(self) -> tuple[Reading, Reading]:
        return self.ours, self.peer

    def taken(self, samples: Mapping[Reading, Sequence[float]], about: Mapping[str, Any]) -> dict[str, Any]:
        """The entry of `results.json`: medians, the ratio, every sample.

        Args:
            samples: of both readings.
            about: when and of which commit they were taken.
        """
        ours, peer = (statistics.median(samples[reading]) for reading in self.readings)
        ratio = ours / peer if peer else None
        entry: dict[str, Any] = {
            "name": self.name,
            "unit": self.unit,
            "ours": ours,
            "peers": {self.peer.side: peer},
            "ratio": ratio,
            "peer": self.peer.side,
            "title": self.title,
            "beside": self.beside,
            "size": {reading.side: reading.size for reading in self.readings},
            "samples": {reading.side: list(samples[reading]) for reading in self.readings},
        }
        if self.goal:
            value = ratio if self.goal.of == "ratio" else ours
            met = value is not None and value <= self.goal.at_most
            entry["goal"] = {"of": self.goal.of, "at_most": self.goal.at_most, "met": met}
        return {**entry, **about}


def _run(name: str, title: str, quantity: Quantity, size: int, peer: SideName, goal: Goal | None = None) -> Measure:
    return Measure(name, title, Reading("ours", quantity, size), Reading(peer, quantity, size), goal)


def _fleet(quantity: Quantity, title: str, ours: int, peer: int, goal: Goal | None = None) -> Measure:
    name = f"{quantity}_{ours}_vs_vanilla_{peer}"
    title = f"{title}, {ours} tenant{'s' * (ours > 1)}"
    return Measure(name, title, Reading("ours", quantity, ours), Reading("vanilla", quantity, peer), goal)


_PROJECTS = {9: "9 nodes", 100: "100 models", 1000: "1,000 models"}
_LAUNCH_GOALS = {
    ("bare", 9): Goal("ratio", 0.2),
    ("vanilla", 9): Goal("ratio", 1 / 15),
    ("bare", 100): Goal("ratio", 0.5),
}
_PEERS: tuple[SideName, ...] = ("bare", "vanilla")

MEASURES: tuple[Measure, ...] = (
    *(
        _run(
            f"launch_to_success_{size}_vs_{peer}",
            f"launch → success, {project}",
            "launch",
            size,
            peer,
            _LAUNCH_GOALS.get((peer, size)),
        )
        for size, project in _PROJECTS.items()
        for peer in _PEERS
    ),
    *(
        _run(
            f"one_model_of_1000_vs_{peer}",
            "one model of 1,000, with its test",
            "one_model",
            1000,
            peer,
            Goal("ratio", 0.25) if peer == "bare" else None,
        )
        for peer in _PEERS
    ),
    *(
        _run(f"run_memory_{size}_vs_{peer}", f"memory of a run at its peak, {project}", "run_memory", size, peer)
        for size, project in _PROJECTS.items()
        for peer in _PEERS
    ),
    *(
        _run(
            f"connections_{size}_vs_vanilla",
            f"connections that a run opens, {project}",
            "connections",
            size,
            "vanilla",
            Goal("ours", 5) if size == 100 else None,
        )
        for size, project in _PROJECTS.items()
    ),
    *(
        _run(f"event_bytes_{size}_vs_vanilla", f"event log of a run, {project}", "event_bytes", size, "vanilla")
        for size, project in _PROJECTS.items()
    ),
    *(
        _run(f"saved_{size}_vs_vanilla", f"saved → shown, {project}", "saved", size, "vanilla", Goal("ours", 3))
        for size, project in _PROJECTS.items()
        if size < 1000
    ),
    *(
        _fleet("boot", "start → all locations are loaded", ours, peer, Goal("ratio", 0.5) if ours == 50 else None)
        for ours, peer in ((1, 1), (5, 5), (10, 10), (50, 5), (200, 10))
    ),
    *(
        _fleet("pss", "memory of the code side at rest", ours, peer, Goal("ratio", 1 / 6) if ours == 50 else None)
        for ours, peer in ((1, 1), (5, 5), (10, 10), (50, 10), (200, 10))
    ),
    _fleet("webserver_rss", "memory of the webserver", 50, 10, Goal("ours", 350)),
    _fleet("daemon_rss", "memory of the daemon", 50, 10, Goal("ours", 350)),
    *(
        _fleet("rest_cpu", "processor at rest, everything", ours, peer, Goal("ours", 2) if ours == 50 else None)
        for ours, peer in ((1, 1), (10, 10), (50, 10), (200, 10))
    ),
    _fleet("rest_cpu_with_freshness", "the same, with freshness of a minute", 50, 10),
)
BY_NAME: Mapping[str, Measure] = {measure.name: measure for measure in MEASURES}
