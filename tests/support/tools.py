"""Programs that `make test-parts` puts on a machine: where they are, and what is raised when one is not there.

The folder and the reasons for what is missing are `scripts/install_test_parts.sh`'s; nothing is installed here.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.parts import MissingPart

INSTALL = "`make test-parts` brings it"


class MissingPulumiEngine(MissingPart):
    """The one part that no package registry has: a test that needs it is skipped where it is missing, even on CI."""


def cache_folder() -> Path:
    """The one folder of the test parts on this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dagster_apollo"


def required(name: str) -> str:
    """A program's path: the one that was built for the tests at its pinned version, else the one on the PATH.

    Raises:
        MissingPart: when there is neither, with the reason that the installation gave.
        MissingPulumiEngine: the same of `pulumi`.
    """
    program = shutil.which(name, path=str(cache_folder() / "tools")) or shutil.which(name)
    if program is None:
        raise (MissingPulumiEngine if name == "pulumi" else MissingPart)(f"no {name}: {why_missing(name)}")
    return program


def why_missing(part: str) -> str:
    """What the installation said about a part that it could not bring."""
    reason = cache_folder() / "missing" / part
    return reason.read_text().strip() if reason.is_file() else INSTALL
