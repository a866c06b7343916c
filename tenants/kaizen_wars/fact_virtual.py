"""Reading the CSV of virtual bouts: every row is typed here, and all that is wrong with the file is told at once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from dagster_apollo.errors import Problem, ProblemsError

# More of them and the rest is likely the same.
_MOST_PROBLEMS = 10


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("it has no time zone")
    return moment


COLUMNS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "bout_id": (int, "a whole number"),
    "fought_at": (_moment, "a time with its zone, `2026-01-05T08:30:00Z`"),
    "dojo": (str, "text"),
    "practice": (str, "text"),
    "outcome": (str, "text"),
    "minutes_saved": (int, "a whole number"),
}


class CsvError(ProblemsError):
    """A file that cannot be loaded as bouts."""

    heading = "the CSV cannot be loaded"


def bouts(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of the file.

    Raises:
        CsvError: the file is not there, has other columns, or holds values of another type; nothing is loaded then.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        remedy = "KAIZEN_WARS__FACT_VIRTUAL_CSV names another file."
        raise CsvError([Problem(str(file), f"cannot be read: {told}", remedy)]) from None
    reader = csv.DictReader(lines)
    header = list(reader.fieldnames or [])
    problems = [
        Problem(file.name, f"has no column `{name}`", f"Its columns are: {', '.join(header) or 'none'}.")
        for name in COLUMNS
        if name not in header
    ]
    problems += [
        Problem(file.name, f"has a column `{name}` that is not known", f"Known are: {', '.join(COLUMNS)}.")
        for name in header
        if name not in COLUMNS
    ]
    if problems:
        raise CsvError(problems)
    rows = []
    for row in reader:
        typed = {}
        for name, (read, kind) in COLUMNS.items():
            try:
                typed[name] = read(row[name])
            except (TypeError, ValueError):  # a short line has None
                where = f"{file.name}, line {reader.line_num}: {name}"
                problems.append(Problem(where, f"{row[name]!r} is not {kind}", "Mend the line."))
        if None in row:
            problems.append(Problem(f"{file.name}, line {reader.line_num}", "has too many values", "Mend the line."))
        rows.append(typed)
    if problems:
        raise CsvError(problems[:_MOST_PROBLEMS])
    yield from rows
