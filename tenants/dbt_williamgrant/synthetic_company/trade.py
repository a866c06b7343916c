"""Two years of trade: exchange rates, shipments to distributors, what they sold on, counted, and what was forecast.

Distributors reorder when their stock runs low; their reports come late at times, and at times are put right later.
All chance comes from the generator that is passed in, so that one seed gives one history.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from random import Random

from synthetic_company.company import (
    CLOSE,
    DISTRIBUTORS,
    FIRST_MONTH,
    GBP_PER_UNIT,
    MARKETS,
    MONTHS,
    Distributor,
    Row,
    Sku,
    add_months,
    last_day,
)

FORECAST_MONTHS_AHEAD = 3
# The trade ships whisky for Christmas and drinks little of it in summer.
SEASON = {1: 0.7, 2: 0.75, 3: 0.9, 4: 0.9, 5: 0.95, 6: 0.9, 7: 0.8, 8: 0.85, 9: 1.05, 10: 1.25, 11: 1.55, 12: 1.7}
# Two whiskies of a size, far apart in what they sell.
POPULARITY = {"B01": 1.3, "B02": 0.9, "B03": 0.9, "B04": 0.6, "B05": 0.7, "B06": 0.4, "B07": 1.1, "B08": 1.6}


def exchange_rates(random: Random) -> dict[tuple[str, date], float]:
    """Pounds for a unit of each currency, wandering a little from month to month."""
    rates: dict[tuple[str, date], float] = {}
    for currency, first_rate in GBP_PER_UNIT.items():
        rate = first_rate
        for number in range(MONTHS + 1):
            rates[currency, add_months(FIRST_MONTH, number)] = rate
            if currency != "GBP":
                rate *= 1 + random.uniform(-0.015, 0.015)
    return rates


def may_list(distributor: Distributor, sku: Sku) -> bool:
    """Whether the format is one of the market's: litres in travel retail, 75cl in North America, 70cl elsewhere."""
    usual_ml = {"GTR": 1000, "US": 750, "CA": 750}.get(distributor.market_code, 700)
    return sku.status != "delisted" and (sku.bottle_ml == usual_ml or (usual_ml == 750 and sku.status == "limited"))


def trade(random: Random, skus: dict[str, Sku], rates: dict[tuple[str, date], float]) -> dict[str, list[Row]]:
    """What was shipped to distributors, what they sold on (depletions), what they counted, what was forecast."""
    currencies = {str(market[0]): str(market[3]) for market in MARKETS}
    shipments: list[Row] = []
    reports: list[tuple[date, Row]] = []
    counts: list[tuple[date, Row]] = []
    sold: dict[tuple[str, str, date], float] = defaultdict(float)  # nine-litre cases by brand, market and month
    for number, distributor in enumerate(DISTRIBUTORS, start=1):
        distributor_id = f"D{number:02d}"
        currency = currencies[distributor.market_code]
        discount = 0.28 if distributor.tier == "key" else 0.22
        orders: dict[date, list[tuple[str, int]]] = defaultdict(list)
        listable = [sku_id for sku_id, sku in skus.items() if may_list(distributor, sku)]
        for sku_id in sorted(random.sample(listable, min(distributor.skus_listed, len(listable)))):
            sku = skus[sku_id]
            usual = distributor.cases_a_month * POPULARITY[sku.brand_id] * 4.2 / sku.litres_per_case
            usual *= 0.35 if sku.status == "limited" else 1
            trend = random.uniform(-0.01, 0.015)
            stock = round(usual * random.uniform(2.2, 3.5))
            for index in range(MONTHS):
                month = add_months(FIRST_MONTH, index)
                wanted = usual * SEASON[month.month]
                if stock < wanted * 2.2:
                    cases = max(5, round((usual * 3.8 - stock * 0.6) / 5) * 5)  # whole layers of a pallet
                    orders[month].append((sku_id, cases))
                    stock += cases
                depleted = min(stock, round(wanted * (1 + trend) ** index * random.uniform(0.7, 1.3)))
                stock -= depleted
                sold[sku.brand_id, distributor.market_code, month] += depleted * sku.litres_per_case / 9
                reports += depletion_reports(random, (distributor_id, sku_id, month), depleted)
                if stock > 2 and random.random() < 0.05:
                    stock -= 1  # breakage, which only a count finds
                counts.append((month, (distributor_id, sku_id, month, last_day(month), stock)))
        for month, lines in orders.items():
            shipped_on = month + timedelta(days=random.randint(1, 25))
            order = f"{shipped_on:%y%m}-{distributor_id}"
            for line_number, (sku_id, cases) in enumerate(lines, start=1):
                price = skus[sku_id].list_price_gbp * (1 - discount) / rates[currency, month]
                line_id = f"SO-{order}-{line_number}"
                shipments.append(
                    (line_id, f"SO-{order}", distributor_id, sku_id, shipped_on, cases, currency, f"{price:.2f}")
                )
    received = [report for reported_on, report in sorted(reports) if reported_on <= CLOSE]
    return {
        "raw/raw_distributors": [(f"D{n:02d}", *about[:8]) for n, about in enumerate(DISTRIBUTORS, start=1)],
        "raw/raw_shipments": sorted(shipments, key=lambda row: str(row[0])),
        "raw/raw_depletions": [(100000 + n, *report) for n, report in enumerate(received, start=1)],
        "raw/raw_distributor_stock": [count for _, count in sorted(counts)],
        "raw/raw_forecasts": forecasts(random, sold),
    }


def depletion_reports(random: Random, of: tuple[str, str, date], depleted: int) -> list[tuple[date, Row]]:
    """The reports of one month by their day: one, at times late, and at times another that puts it right."""
    late_days = 35 if random.random() < 0.02 else 0
    reported_on = last_day(of[2]) + timedelta(days=random.randint(4, 10) + late_days)
    if depleted <= 3 or random.random() >= 0.06:
        return [(reported_on, (*of, 1, reported_on, depleted))]
    restated_on = reported_on + timedelta(days=random.randint(20, 40))
    said_first = depleted + random.choice([-3, -2, -1, 1, 2])
    return [(reported_on, (*of, 1, reported_on, said_first)), (restated_on, (*of, 2, restated_on, depleted))]


def forecasts(random: Random, sold: dict[tuple[str, str, date], float]) -> list[Row]:
    """What was forecast three months and one month ahead, the nearer the better; also the months still to come."""
    rows: list[Row] = []
    for brand_id, market_code in sorted({(brand_id, market_code) for brand_id, market_code, _ in sold}):
        for index in range(MONTHS + FORECAST_MONTHS_AHEAD):
            month = add_months(FIRST_MONTH, index)
            known_month = month if index < MONTHS else add_months(month, -12)
            for months_ahead, error in ((3, 0.28), (1, 0.15)):
                guess = sold[brand_id, market_code, known_month] * (1.03 + random.uniform(-error, error))
                cycle = add_months(month, -months_ahead)
                if cycle <= CLOSE:
                    rows.append((brand_id, market_code, month, cycle, f"{guess:.2f}"))
    return rows
