"""What a change has to do with which tenants and services: the matrix of the gate, and how much a deploy replaces.

Pure: from the paths that differ and the folders that are there. Where the paths come from is `deploy/changes.py`. What
nobody has said to be harmless touches everything: one file too many in a deploy costs a minute, one too few is a fault.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Deploys = Literal["none", "tenants", "all"]

TENANTS = "tenants/"
# GitHub runs as many jobs at once in its smallest plan, and refuses a matrix of more than 256.
MOST_JOBS = 20
# What is neither in the image nor part of the gate.
_BESIDE = (
    "tenants/_",
    "tests/",
    "docs/",
    "benchmarks/",
    "local_snowflake/",
    "infra/",
    "render.yaml",
    "compose.yaml",
    ".env.example",
    ".gitignore",
    "LICENSE",
    "README.md",
    "CONTRIBUTING.md",
)
# What the gate is made of and the image is not.
_OF_THE_GATE = (".github/", ".ci/", "Makefile", "requirements-dev.txt")


@dataclass(frozen=True)
class Change:
    """What a change touches.

    Attributes:
        tenants: those that are to be parsed, in order.
        deploys: what a deploy of it replaces: nothing, the code host alone, or every service.
    """

    tenants: tuple[str, ...]
    deploys: Deploys


def touched(paths: Iterable[str] | None, tenants: Collection[str]) -> Change:
    """What a change touches.

    Args:
        paths: every path that differs, from the repository's root; a file that was moved is two. None: nobody knows.
        tenants: the tenants that there are now.
    """
    everyone = tuple(sorted(tenants))
    if paths is None:
        return Change(everyone, "all")
    parsed: set[str] = set()
    deploys: set[Deploys] = set()
    for path in paths:
        name, inside, _ = path.removeprefix(TENANTS).partition("/")
        if _is_among(path, _BESIDE):
            continue
        if path.startswith(TENANTS) and inside:
            parsed.add(name)  # one that is gone is not parsed, but leaves the code host
            deploys.add("tenants")
        elif _is_among(path, _OF_THE_GATE):
            parsed.update(everyone)
        else:
            parsed.update(everyone)
            deploys.add("all")
    most: Deploys = "all" if "all" in deploys else "tenants" if deploys else "none"
    return Change(tuple(name for name in everyone if name in parsed), most)


def batches(tenants: Sequence[str], most: int = MOST_JOBS) -> list[str]:
    """The jobs of the matrix: a tenant each, or several with commas between them where there are many.

    Args:
        tenants: the tenants to be parsed.
        most: how many jobs there may be, at least 1.
    """
    size = -(-len(tenants) // most) or 1
    return [",".join(tenants[start : start + size]) for start in range(0, len(tenants), size)]


def _is_among(path: str, listed: Sequence[str]) -> bool:
    """Whether a path is one of these files, or begins as a listed folder does."""
    return any(path.startswith(entry) if entry.endswith(("/", "_")) else path == entry for entry in listed)
