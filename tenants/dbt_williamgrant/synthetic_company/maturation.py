"""A life of casks since 2000: filled, gauged every few years, some moved, some emptied for a bottling.

Which casks a bottling takes keeps to the law: none younger than its label, and none under three years at all.
All chance comes from the generator that is passed in, so that one seed gives one history.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from random import Random
from typing import NamedTuple

from synthetic_company.company import CASK_TYPES, CLOSE, FIRST_MONTH, HOME_WAREHOUSES, WAREHOUSES, Row, Sku

NUMBER_OF_CASKS = 420
# Casks under a steel roof see more of the weather than those on an earth floor: yearly loss against the usual.
STYLE_LOSS = {"dunnage": -0.001, "racked": 0.002, "palletised": 0.003}
# Points of strength a year, and the share of pure alcohol that goes with them: the rest of the loss is volume.
STRENGTH_LOSS_PER_YEAR = 0.35
PURE_ALCOHOL_LOSS_BY_STRENGTH = 0.006


class Cask(NamedTuple):
    """A cask on the day it is filled, with the share of its volume that it will lose in a year."""

    cask_id: str
    brand_id: str
    warehouse_id: str
    cask_type: str
    previous_contents: str
    fill_number: int
    filled_on: date
    litres: float
    strength_percent: float
    volume_loss: float


class Movement(NamedTuple):
    """An entry of the cask ledger."""

    cask_id: str
    kind: str
    on: date
    warehouse_id: str
    litres: float
    strength_percent: float
    bottling_id: str


def fill_casks(random: Random) -> list[Cask]:
    capacities = {str(row[0]): float(str(row[1])) for row in CASK_TYPES}
    losses = {str(row[0]): float(str(row[2])) / 100 for row in CASK_TYPES}
    styles = {str(row[0]): str(row[2]) for row in WAREHOUSES}
    woods = {"barrel": ["bourbon"], "quarter_cask": ["bourbon"], "hogshead": ["bourbon", "refill"]}
    casks: list[Cask] = []
    for number in range(1, NUMBER_OF_CASKS + 1):
        brand_id = random.choice([*HOME_WAREHOUSES, "B01"])
        warehouse_id = random.choice(HOME_WAREHOUSES[brand_id])
        cask_type = random.choices(list(capacities), [7, 40, 35, 12, 6])[0]
        contents = random.choice(woods.get(cask_type, ["oloroso", "oloroso", "port"]))
        loss = losses[cask_type] - PURE_ALCOHOL_LOSS_BY_STRENGTH + STYLE_LOSS[styles[warehouse_id]]
        casks.append(
            Cask(
                cask_id=f"C{number:04d}",
                brand_id=brand_id,
                warehouse_id=warehouse_id,
                cask_type=cask_type,
                previous_contents=contents,
                fill_number=random.choice([2, 3]) if contents == "refill" else 1,
                filled_on=date(2000, 1, 1) + timedelta(days=int(random.triangular(0, 9660, 6200))),
                litres=round(capacities[cask_type] * random.uniform(0.96, 0.99), 1),
                strength_percent=random.choice([63.5, 63.5, 63.4, 63.6, 62.8]),
                volume_loss=loss + random.uniform(-0.004, 0.004),
            )
        )
    return casks


def choose_casks(random: Random, skus: dict[str, Sku], casks: list[Cask]) -> dict[str, tuple[str, date, list[Cask]]]:
    """The bottlings: what, when, and of which casks, all old enough for the label (three years at least: the law)."""
    bottlings: dict[str, tuple[str, date, list[Cask]]] = {}
    maturing = {cask.cask_id: cask for cask in casks}
    on = FIRST_MONTH + timedelta(days=9)
    while on <= CLOSE:
        sku_id = random.choice([sku_id for sku_id, sku in skus.items() if sku.status != "delisted"])
        sku = skus[sku_id]
        distilleries = {"B07": list(HOME_WAREHOUSES)[:5], "B08": list(HOME_WAREHOUSES)}.get(
            sku.brand_id, [sku.brand_id]
        )
        filled_by = on - timedelta(days=(sku.age_years or 3) * 366 + 30)
        # no one empties a much older cask into a whisky that has a younger age on its label
        filled_from = filled_by - timedelta(days=6 * 365) if sku.age_years else date.min
        ready = [
            cask
            for cask in maturing.values()
            if cask.brand_id in distilleries and filled_from <= cask.filled_on <= filled_by
        ]
        if ready:
            chosen = random.sample(ready, min(len(ready), random.randint(1, 3)))
            bottlings[f"BT-{len(bottlings) + 1:04d}"] = sku_id, on, chosen
            for cask in chosen:
                del maturing[cask.cask_id]
        on += timedelta(days=random.randint(5, 13))
    return bottlings


def mature(random: Random, cask: Cask, emptied: tuple[date, str] | None) -> list[Movement]:
    """A cask's entries in the ledger: filled, gauged every few years, perhaps moved, at last perhaps emptied."""
    visits = [(cask.filled_on, "fill", "")]
    on = cask.filled_on + timedelta(days=random.randint(3 * 365, 6 * 365))
    while on < (emptied[0] if emptied else CLOSE):
        visits.append((on, "move" if random.random() < 0.12 else "regauge", ""))
        on += timedelta(days=random.randint(3 * 365, 6 * 365))
    if emptied:
        visits.append((emptied[0], "disgorge", emptied[1]))
    movements: list[Movement] = []
    warehouse_id = cask.warehouse_id
    for on, kind, bottling_id in visits:
        years = (on - cask.filled_on).days / 365.25
        warehouse_id = "W6" if kind == "move" else warehouse_id
        litres = round(cask.litres * (1 - cask.volume_loss) ** years, 1)
        strength = round(cask.strength_percent - STRENGTH_LOSS_PER_YEAR * years, 1)
        movements.append(Movement(cask.cask_id, kind, on, warehouse_id, litres, strength, bottling_id))
    return movements


def maturation(random: Random, skus: dict[str, Sku]) -> dict[str, list[Row]]:
    """Casks, their ledger, and the bottlings they went into."""
    casks = fill_casks(random)
    bottlings = choose_casks(random, skus, casks)
    emptied = {cask.cask_id: (on, bottling_id) for bottling_id, (_, on, chosen) in bottlings.items() for cask in chosen}
    ledger = [movement for cask in casks for movement in mature(random, cask, emptied.get(cask.cask_id))]
    ledger.sort(key=lambda movement: (movement.on, movement.cask_id))
    pure_litres: dict[str, float] = defaultdict(float)
    for movement in ledger:
        pure_litres[movement.bottling_id] += movement.litres * movement.strength_percent / 100
    bottling_rows: list[Row] = []
    for bottling_id, (sku_id, on, _) in bottlings.items():
        kept = random.uniform(0.955, 0.985)  # the rest stays in filters and pipes
        litres = pure_litres[bottling_id] * kept / (skus[sku_id].abv_percent / 100)
        cases = int(litres / skus[sku_id].litres_per_case)
        bottling_rows.append((bottling_id, sku_id, on, random.choice(["line_1", "line_1", "line_2"]), cases))
    return {
        "raw/raw_warehouses": WAREHOUSES,
        "raw/raw_casks": [cask[:9] for cask in casks],
        "raw/raw_cask_movements": [(number, *movement) for number, movement in enumerate(ledger, start=1)],
        "raw/raw_bottlings": bottling_rows,
    }
