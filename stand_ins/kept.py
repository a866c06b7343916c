"""What the stand-ins keep of themselves on a machine: random secrets, and the variables of those that run."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path


class Secrets:
    """Secrets of this machine by name, made where there is none, in a file that only its user may read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = secrets.token_urlsafe(24)
            write_private(self._file, json.dumps(self._known))
        return self._known[name]


def write_private(file: Path, text: str) -> None:
    """Write a file that only its user may read, whole or not at all."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    part.replace(file)


def write_variables(file: Path, variables: Mapping[str, str]) -> None:
    """Write `NAME=value` lines for those who work beside `apollo dev`, which is named first: they end with it."""
    lines = [f"# Written by `apollo dev`, process {os.getpid()}; gone when it ends."]
    lines += [f"{name}={value}" for name, value in sorted(variables.items())]
    write_private(file, "\n".join(lines) + "\n")
