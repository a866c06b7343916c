"""What a person wrote for a Docker host: `.env`, `.env.tenants` and access.yaml, the files that compose.yaml reads too.

Which of it goes where is `variables.py`'s. A line that is no setting is named by its number, never shown.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from dagster_apollo.errors import Problem, SettingsError
from infra.variables import ACCESS

OWN, OF_TENANTS, ACCESS_FILE = ".env", ".env.tenants", "access.yaml"


@dataclass(frozen=True)
class Written:
    """Variables and their texts, which do not show in `repr`.

    Attributes:
        own: the services' own, of `.env`; each overridden by the process' own variable of that name.
        of_tenants: the tenants', of `.env.tenants`.
    """

    own: Mapping[str, str]
    of_tenants: Mapping[str, str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.own)} own, {len(self.of_tenants)} of tenants)"


def read_written(environ: Mapping[str, str], root: Path) -> Written:
    """Read the files of a fork's folder; those that are not there are empty.

    Args:
        environ: this process' variables; those that `.env` does not name do not count.
        root: the fork's folder.

    Raises:
        SettingsError: with every file and line that cannot be read.
    """
    problems: list[Problem] = []
    own = {name: environ.get(name, text) for name, text in _settings(root / OWN, problems).items()}
    of_tenants = _settings(root / OF_TENANTS, problems)
    access = root / (own.get("APOLLO_ACCESS_PATH") or ACCESS_FILE)
    if not own.get(ACCESS, "").strip() and access.exists():
        own[ACCESS] = _text(access, problems)
    if problems:
        raise SettingsError(problems)
    return Written(own, of_tenants)


def _settings(file: Path, problems: list[Problem]) -> dict[str, str]:
    text = _text(file, problems) if file.exists() else ""
    wrong = [binding.original.line for binding in parse_stream(io.StringIO(text)) if binding.error]
    problems += [Problem(f"{file.name}, line {line}", "is not a setting", "Write `NAME=value`.") for line in wrong]
    if wrong:
        return {}
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value is not None}


def _text(file: Path, problems: list[Problem]) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        problems.append(Problem(file.name, "cannot be read as a text file", "Write it in UTF-8, readable by you."))
        return ""
