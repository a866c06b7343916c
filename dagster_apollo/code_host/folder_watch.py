"""Sees that a tenant's folder has changed: on a laptop, where people save files; an image's folders never change.

Times and sizes alone are looked at, a few times a second's share of the time; whether the change means anything is
found by whoever reads the contents.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from dagster_apollo.code_host.snapshots import project_files

# A look may take this share of the time, and is taken this often at the most.
_SHARE, _SECONDS = 0.02, 0.5

Signature = tuple[tuple[str, int, int], ...]


class FolderWatch:
    """The folders of all tenants.

    Args:
        folders: by tenant.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._seen: dict[str, Signature] = {}
        self._due_at = 0.0

    def changed(self) -> list[str]:
        """The tenants whose folder is another than at the last look; none at the first, or when it is too early."""
        began = time.monotonic()
        if began < self._due_at:
            return []
        changed = []
        for tenant, folder in self._folders.items():
            now = _signature(folder)
            if self._seen.get(tenant, now) != now:
                changed.append(tenant)
            self._seen[tenant] = now
        ended = time.monotonic()
        self._due_at = ended + max(_SECONDS, (ended - began) / _SHARE)
        return changed


def _signature(folder: Path) -> Signature:
    found = []
    for file in project_files(folder):
        try:
            told = os.stat(file)
        except FileNotFoundError:  # an editor's temporary file
            continue
        found.append((str(file), told.st_mtime_ns, told.st_size))
    return tuple(found)
