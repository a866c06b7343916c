"""The provider of exchange rates: what it answered, month by month, as it was recorded in `recorded/`.

A fork that asks a real provider changes this module and no other; what is made of an answer is `fetch_rates.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

RECORDED = Path(__file__).resolve().parents[1] / "recorded"


@dataclass(frozen=True)
class Answer:
    """One month as the provider gave it.

    Attributes:
        month: `2026-01`.
        base: the currency of which one unit is worth `rate` units of another.
        published_at: when it was given, in UTC.
        rates: by day and currency.
        digest: the SHA-256 of the text: another text is another answer.
    """

    month: str
    base: str
    published_at: datetime
    rates: dict[date, dict[str, float]]
    digest: str


def answers(folder: Path = RECORDED) -> Iterator[Answer]:
    """Every month's answer, in order."""
    for file in sorted(folder.glob("*.json")):
        text = file.read_bytes()
        told = json.loads(text)
        yield Answer(
            file.stem,
            told["base"],
            datetime.fromisoformat(told["published_at"]),
            {date.fromisoformat(day): rates for day, rates in told["rates"].items()},
            hashlib.sha256(text).hexdigest(),
        )
