"""Write every seed of this project from a fixed random seed: forty days of a synthetic cell culture plant.

Nothing here is measured. Vessels, batches, products and all values are invented; the shapes (logistic growth, a slow
fall of viability, oxygen that is used up) only make the models worth looking at. `--check` writes nothing and exits 1
if a committed file differs.
"""

from __future__ import annotations

import csv
import io
import math
import random
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

SEED = 20260501
START = datetime(2026, 5, 1)
DAYS = 40
READING_INTERVAL_HOURS = 4
FOLDER = Path(__file__).resolve().parent / "seeds"

VESSELS = (("V-101", 200), ("V-102", 200), ("V-201", 1000))
PRODUCTS = ("mab_a", "mab_b")
BATCH_DAYS, PAUSE_DAYS = 12, 2
# By sensor: the set point, the tolerance around it and the noise of one reading.
SENSORS = {
    "temperature_c": (36.8, 0.5, 0.08),
    "ph": (7.05, 0.15, 0.03),
    "dissolved_oxygen_pct": (40.0, 15.0, 3.0),
    "agitation_rpm": (120.0, 20.0, 2.0),
}


def batches() -> list[tuple[object, ...]]:
    """One after the other in each vessel; the last one of each may still be running when the data ends."""
    rows: list[tuple[object, ...]] = []
    begun = []
    for place, (vessel, _) in enumerate(VESSELS):
        day = place * 3
        while day < DAYS:
            begun.append((START + timedelta(days=day, hours=6), vessel))
            day += BATCH_DAYS + PAUSE_DAYS
    for number, (started_at, vessel) in enumerate(sorted(begun), start=1):
        ended_at = started_at + timedelta(days=BATCH_DAYS)
        is_over = ended_at <= START + timedelta(days=DAYS)
        product = PRODUCTS[number % len(PRODUCTS)]
        rows.append((1000 + number, vessel, product, started_at, ended_at if is_over else None))
    return rows


def readings(of: Iterable[Sequence[object]], chance: random.Random) -> list[tuple[object, ...]]:
    """Every sensor every few hours; some readings are lost, some come twice, some are off."""
    rows: list[tuple[object, ...]] = []
    for batch_id, vessel, _, started_at, ended_at in of:
        assert isinstance(started_at, datetime)  # noqa: S101
        end = ended_at if isinstance(ended_at, datetime) else START + timedelta(days=DAYS)
        troubled_day = chance.randrange(2, BATCH_DAYS - 1)
        at = started_at
        while at < end:
            for sensor, (set_point, tolerance, noise) in SENSORS.items():
                if chance.random() < 0.01:
                    continue
                value = chance.gauss(set_point, noise)
                if (at - started_at).days == troubled_day and sensor == "temperature_c" and at.hour < 12:
                    value += 2.5 * tolerance
                row = (batch_id, vessel, at, sensor, round(value, 3))
                rows.append(row)
                if chance.random() < 0.005:
                    rows.append(row)
            at += timedelta(hours=READING_INTERVAL_HOURS)
    return [(number, *row) for number, row in enumerate(sorted(rows, key=lambda row: (row[2], row[0], row[3])), 1)]


def samples(of: Iterable[Sequence[object]], chance: random.Random) -> list[tuple[object, ...]]:
    """One sample a day goes to the laboratory: cells grow along a logistic curve, product follows the cells."""
    rows: list[tuple[object, ...]] = []
    for batch_id, _, product, started_at, ended_at in of:
        assert isinstance(started_at, datetime)  # noqa: S101
        end = ended_at if isinstance(ended_at, datetime) else START + timedelta(days=DAYS)
        titre, peak = 0.0, chance.uniform(14.0, 20.0)
        for day in range(BATCH_DAYS):
            at = started_at + timedelta(days=day, hours=3)
            if at >= end:
                break
            cells = peak / (1 + math.exp(-0.9 * (day - 5))) * chance.uniform(0.97, 1.03)
            viability = 98.5 - 0.09 * day**2 + chance.gauss(0, 0.3)
            titre += cells * (0.021 if product == "mab_a" else 0.026)
            rows.append((batch_id, at, round(cells, 2), round(viability, 1), round(titre, 3)))
    return [(number, *row) for number, row in enumerate(sorted(rows, key=lambda row: (row[1], row[0])), 1)]


def texts() -> dict[str, str]:
    """The content of every seed, by file name."""
    chance = random.Random(SEED)  # noqa: S311  not for secrets
    made = batches()
    tables = {
        "raw_vessels": (("vessel_id", "volume_litres"), VESSELS),
        "raw_set_points": (
            ("sensor", "set_point", "tolerance"),
            [(sensor, set_point, tolerance) for sensor, (set_point, tolerance, _) in SENSORS.items()],
        ),
        "raw_batches": (("batch_id", "vessel_id", "product", "started_at", "ended_at"), made),
        "raw_readings": (
            ("reading_id", "batch_id", "vessel_id", "measured_at", "sensor", "value"),
            readings(made, chance),
        ),
        "raw_samples": (
            ("sample_id", "batch_id", "sampled_at", "viable_cells_e6_per_ml", "viability_pct", "titre_g_per_l"),
            samples(made, chance),
        ),
    }
    return {f"{name}.csv": _csv(columns, rows) for name, (columns, rows) in tables.items()}


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([value.isoformat(" ") if isinstance(value, datetime) else value for value in row] for row in rows)
    return out.getvalue()


def main(check: bool) -> int:
    wrong = []
    for name, text in texts().items():
        file = FOLDER / name
        if not check:
            file.write_text(text, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            wrong.append(name)
    if wrong:
        sys.stderr.write(f"not what generate_seeds.py writes: {', '.join(wrong)}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
