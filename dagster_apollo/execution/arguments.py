"""The argument lists that dbt is given: pure functions from what is wanted to words, compared by equality in tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Build:
    """What one `dbt build` is to do.

    Attributes:
        select: dbt's own names of the nodes and tests to run, each by its fully qualified name; empty: all.
        full_refresh: build incremental models anew.
        variables: `--vars`.
        target: the profile's target to build in, where it is not the default.
    """

    select: Sequence[str] = ()
    full_refresh: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None


def build(wanted: Build) -> list[str]:
    """`dbt build` of exactly what is selected: tests are named, never inferred, so that what ran can be held to it."""
    return [*_command("build", wanted), *(["--full-refresh"] if wanted.full_refresh else [])]


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
    if wanted.variables:
        words += ["--vars", json.dumps(dict(wanted.variables), sort_keys=True)]
    if wanted.target:
        words += ["--target", wanted.target]
    return words
