"""The argument lists that dbt is given: pure functions from what is wanted to words, compared by equality in tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any


@dataclass(frozen=True)
class Days:
    """The days that a run is for.

    Attributes:
        first: the first of them.
        end: the day after the last one.
        as_event_time: they reach dbt as the event time of microbatch models, and not as vars. Vars that differ make dbt
            parse the whole project.
    """

    first: date
    end: date
    as_event_time: bool = False

    def variables(self) -> dict[str, str]:
        """The vars of a run, all three in the form `2026-01-31`."""
        if self.as_event_time:
            return {}
        return {
            "partition_date": self.first.isoformat(),
            "partition_start": self.first.isoformat(),
            "partition_end": self.end.isoformat(),
        }

    def words(self) -> list[str]:
        """The arguments of `dbt build`."""
        if not self.as_event_time:
            return []
        return ["--event-time-start", self.first.isoformat(), "--event-time-end", self.end.isoformat()]


@dataclass(frozen=True)
class Build:
    """What one `dbt build` is to do.

    Attributes:
        select: dbt's own names of the nodes and tests to run, each by its fully qualified name; empty: all.
        full_refresh: build incremental models anew.
        variables: `--vars`.
        target: the profile's target to build in, where it is not the default.
        days: of a run for some days of partitioned models.
    """

    select: Sequence[str] = ()
    full_refresh: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None
    days: Days | None = None


def build(wanted: Build) -> list[str]:
    """`dbt build` of exactly what is selected: tests are named, never inferred, so that what ran can be held to it."""
    words = [*_command("build", wanted), *(["--full-refresh"] if wanted.full_refresh else [])]
    return [*words, *(wanted.days.words() if wanted.days else [])]


def seed(wanted: Build) -> list[str]:
    """`dbt seed`, before a build of which some sources are filled by seeds."""
    return [*_command("seed", wanted), *(["--full-refresh"] if wanted.full_refresh else [])]


def freshness(sources: Sequence[str]) -> list[str]:
    """`dbt source freshness` of the named sources, each as `source:package.source.table`; empty: all."""
    return ["source", "freshness", *(["--select", *sources] if sources else [])]


def test(tests: Sequence[str]) -> list[str]:
    """`dbt test` of the named tests."""
    return ["test", "--select", *tests, "--indirect-selection", "empty"]


def _command(name: str, wanted: Build) -> list[str]:
    words = [name]
    if wanted.select:
        # Separate words: one argument holds 128 KiB at the most on Linux, all together two megabytes.
        words += ["--select", *wanted.select]
        if name == "build":
            words += ["--indirect-selection", "empty"]
    variables = {**wanted.variables, **(wanted.days.variables() if wanted.days else {})}
    if variables:
        words += ["--vars", json.dumps(variables, sort_keys=True)]
    if wanted.target:
        words += ["--target", wanted.target]
    return words
