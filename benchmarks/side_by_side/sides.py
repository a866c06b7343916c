"""The sides that are served, by name: each with a database of its own, and gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.side_by_side.database import running_database
from benchmarks.side_by_side.measures import SideName
from benchmarks.side_by_side.ours import Ours
from benchmarks.side_by_side.served import Side
from benchmarks.side_by_side.vanilla import Vanilla


@contextmanager
def served_side(name: SideName, folder: Path) -> Iterator[Side]:
    """A side with its database, not started yet; all that it started is ended afterwards."""
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    with running_database() as database:
        side: Side = Ours(own, database) if name == "ours" else Vanilla(own, database)
        try:
            yield side
        finally:
            side.stop()
