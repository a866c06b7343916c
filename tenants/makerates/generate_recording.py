"""Writes `recorded/`: what an invented provider of exchange rates answered, month by month, early in 2026.

All of it is synthetic: a walk from invented rates with a fixed random seed, the same files on every machine. A month's
answer begins with the last day of the month before, one rate of it revised, as providers do. `--check` says whether
the committed files still are what this writes.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date, timedelta
from pathlib import Path
from random import Random

RANDOM_SEED = 1999
RECORDED = Path(__file__).parent / "recorded"
FIRST_DAY, LAST_DAY = date(2026, 1, 1), date(2026, 3, 31)
# Units of the currency for one euro on the first day, and how much a day moves it, in percent.
CURRENCIES = {
    "CHF": (0.93, 0.25),
    "DKK": (7.46, 0.01),
    "GBP": (0.86, 0.3),
    "JPY": (171.0, 0.5),
    "NOK": (11.6, 0.45),
    "PLN": (4.25, 0.3),
    "SEK": (10.9, 0.4),
    "USD": (1.16, 0.4),
}


def walk() -> dict[date, dict[str, float]]:
    """Rates of every working day."""
    random = Random(RANDOM_SEED)  # noqa: S311  a story, not a secret
    rates = {currency: start for currency, (start, _) in CURRENCIES.items()}
    days: dict[date, dict[str, float]] = {}
    day = FIRST_DAY
    while day <= LAST_DAY:
        if day.weekday() < 5:
            for currency, (_, percent) in CURRENCIES.items():
                rates[currency] *= 1 + random.gauss(0, percent) / 100
            days[day] = {currency: round(rate, 4) for currency, rate in rates.items()}
        day += timedelta(days=1)
    return days


def answers() -> dict[str, str]:
    """The provider's answers as texts, by month."""
    days = walk()
    texts = {}
    for month in sorted({day.strftime("%Y-%m") for day in days}):
        its_own = {day: rates for day, rates in days.items() if day.strftime("%Y-%m") == month}
        earlier = [day for day in days if day < min(its_own)]
        if earlier:
            last = max(earlier)
            its_own[last] = {**days[last], "SEK": round(days[last]["SEK"] * 1.001, 4)}
        answer = {
            "note": "synthetic: written by generate_recording.py",
            "base": "EUR",
            "published_at": f"{max(its_own).isoformat()}T15:00:00Z",
            "rates": {day.isoformat(): its_own[day] for day in sorted(its_own)},
        }
        texts[month] = json.dumps(answer, indent=1) + "\n"
    return texts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    check = parser.parse_args().check
    stale = False
    for month, text in answers().items():
        file = RECORDED / f"{month}.json"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            stale = True
            print(f"{file.relative_to(RECORDED.parent)} is not what this writes" if check else f"writing {file.name}")
            if not check:
                file.write_text(text, encoding="utf-8")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
