"""Writes data/fact_virtual.csv from a fixed random seed: invented bouts of invented dojos.

python tenants/kaizen_wars/generate_data.py            # write it
python tenants/kaizen_wars/generate_data.py --check    # exit 1 if the committed file differs
"""

from __future__ import annotations

import csv
import io
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

FILE = Path(__file__).parent / "data" / "fact_virtual.csv"
SEED = 20260105
BOUTS = 120
DOJOS = ("Kita", "Minami", "Higashi", "Nishi", "Chuo")
PRACTICES = ("seiri", "seiton", "seiso", "seiketsu", "shitsuke")
OUTCOMES = ("won", "lost", "drawn")


def text() -> str:
    """The file's content."""
    chance = random.Random(SEED)  # noqa: S311  synthetic data
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("bout_id", "fought_at", "dojo", "practice", "outcome", "minutes_saved"))
    moment = datetime(2026, 1, 5, 8)
    for bout in range(1, BOUTS + 1):
        moment += timedelta(minutes=chance.randrange(20, 400))
        outcome = chance.choices(OUTCOMES, (5, 4, 1))[0]
        saved = chance.randrange(5, 90) if outcome == "won" else 0
        writer.writerow(
            (bout, f"{moment.isoformat()}Z", chance.choice(DOJOS), chance.choice(PRACTICES), outcome, saved)
        )
    return out.getvalue()


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(FILE.read_text(encoding="utf-8") != text())
    FILE.write_text(text(), encoding="utf-8")
