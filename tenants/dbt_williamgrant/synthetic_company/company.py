"""Who and what there is: brands, SKUs, markets, distributors, warehouses, casks, each as a plain table to edit.

Everything is invented: no brand, distributor or figure belongs to anyone. What happens to them over two years is not
said here, but in `trade` and in `maturation`.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

FIRST_MONTH = date(2024, 7, 1)
MONTHS = 24
CLOSE = date(2026, 7, 15)  # the last day anything is recorded; dbt_project.yml has it as `as_of_date`

Row = tuple[object, ...]


class Sku(NamedTuple):
    """A brand's expression in one bottle size, as it is ordered."""

    brand_id: str
    expression: str
    age_years: int | None
    finish: str
    abv_percent: float
    bottle_ml: int
    bottles_per_case: int
    launched_on: str
    status: str
    list_price_gbp: float

    @property
    def litres_per_case(self) -> float:
        return self.bottle_ml * self.bottles_per_case / 1000


class Distributor(NamedTuple):
    """Who buys from us; the last two say how much of a popular SKU it sells in a month, and how many SKUs it lists."""

    name: str
    market_code: str
    route_to_market: str
    tier: str
    payment_terms_days: int
    incoterm: str
    status: str
    contract_started_on: str
    cases_a_month: int
    skus_listed: int


BRANDS: list[Row] = [
    ("B01", "Corriebrae", "single_malt", "Speyside", 1887, "true"),
    ("B02", "Ardlunan", "single_malt", "Islay", 1901, "true"),
    ("B03", "Strathmerrick", "single_malt", "Highland", 1924, "true"),
    ("B04", "Benquhair", "single_malt", "Lowland", 1990, "true"),
    ("B05", "Skerrowmore", "single_malt", "Islands", 1966, "true"),
    ("B06", "Kestrel Quay", "single_grain", "Lowland", 1963, "true"),
    ("B07", "Three Lanterns", "blended_malt", "", 2005, "true"),
    ("B08", "Old Pavilion", "blended_scotch", "", 1932, "true"),
    ("B09", "Drovers Lane", "blended_scotch", "", 1978, "false"),
]


SKUS = [
    Sku("B01", "12 Year Old", 12, "", 40.0, 700, 6, "2008-03-01", "core", 192.00),
    Sku("B01", "12 Year Old", 12, "", 43.0, 750, 6, "2009-05-01", "core", 204.00),
    Sku("B01", "15 Year Old Oloroso", 15, "oloroso", 46.0, 700, 6, "2014-09-01", "core", 318.00),
    Sku("B01", "18 Year Old", 18, "", 43.0, 700, 6, "2011-09-01", "core", 522.00),
    Sku("B01", "Traveller's Reserve", None, "", 40.0, 1000, 6, "2017-02-01", "travel_exclusive", 216.00),
    Sku("B02", "10 Year Old", 10, "", 46.0, 700, 6, "2010-04-01", "core", 228.00),
    Sku("B02", "10 Year Old", 10, "", 46.0, 750, 6, "2012-04-01", "core", 240.00),
    Sku("B02", "Cask Strength", None, "", 58.2, 700, 6, "2019-10-01", "limited", 354.00),
    Sku("B03", "12 Year Old", 12, "", 40.0, 700, 6, "2006-06-01", "core", 180.00),
    Sku("B03", "16 Year Old Port Wood", 16, "port", 46.0, 700, 6, "2018-09-01", "limited", 390.00),
    Sku("B04", "Triple Distilled", None, "", 40.0, 700, 6, "2015-03-01", "core", 168.00),
    Sku("B04", "12 Year Old", 12, "", 43.0, 700, 6, "2020-03-01", "core", 210.00),
    Sku("B05", "14 Year Old", 14, "", 46.0, 700, 6, "2013-05-01", "core", 288.00),
    Sku("B05", "Harbour Light", None, "", 40.0, 1000, 12, "2016-05-01", "travel_exclusive", 396.00),
    Sku("B06", "8 Year Old Grain", 8, "", 40.0, 700, 12, "2012-11-01", "core", 252.00),
    Sku("B07", "Three Lanterns", None, "", 40.0, 700, 6, "2005-09-01", "core", 138.00),
    Sku("B07", "Three Lanterns Smoky", None, "", 43.0, 750, 6, "2016-09-01", "core", 150.00),
    Sku("B08", "Old Pavilion", None, "", 40.0, 700, 12, "1995-01-01", "core", 174.00),
    Sku("B08", "Old Pavilion", None, "", 40.0, 1000, 12, "1998-01-01", "core", 240.00),
    Sku("B08", "Old Pavilion 12 Year Old", 12, "", 40.0, 700, 12, "2004-01-01", "core", 276.00),
    Sku("B09", "Drovers Lane", None, "", 40.0, 700, 12, "1996-01-01", "delisted", 156.00),
]

MARKETS: list[Row] = [
    ("GB", "United Kingdom", "Europe", "GBP"),
    ("DE", "Germany", "Europe", "EUR"),
    ("FR", "France", "Europe", "EUR"),
    ("SE", "Sweden", "Europe", "SEK"),
    ("US", "United States", "Americas", "USD"),
    ("CA", "Canada", "Americas", "CAD"),
    ("JP", "Japan", "Asia Pacific", "JPY"),
    ("TW", "Taiwan", "Asia Pacific", "TWD"),
    ("AU", "Australia", "Asia Pacific", "AUD"),
    ("ZA", "South Africa", "Africa", "ZAR"),
    ("GTR", "Global Travel Retail", "Travel Retail", "USD"),
]

GBP_PER_UNIT = {
    "GBP": 1.0,
    "EUR": 0.85,
    "SEK": 0.075,
    "USD": 0.78,
    "CAD": 0.57,
    "JPY": 0.0052,
    "TWD": 0.0243,
    "AUD": 0.51,
    "ZAR": 0.043,
}

DISTRIBUTORS = [
    Distributor("Northgate Cellars", "GB", "wholesale", "key", 45, "DAP", "active", "2012-04-01", 14, 6),
    Distributor("Tollhouse On-Trade", "GB", "on_trade", "growth", 30, "DAP", "active", "2019-09-01", 7, 4),
    Distributor("Rheinbrand Import", "DE", "importer", "key", 60, "DAP", "active", "2010-01-01", 12, 6),
    Distributor("Maison des Alambics", "FR", "importer", "key", 60, "DAP", "active", "2008-06-01", 15, 6),
    Distributor("Mälarkust Vin & Sprit", "SE", "monopoly", "growth", 30, "DAP", "active", "2015-02-01", 5, 4),
    Distributor("Harbor & Union Beverage", "US", "three_tier", "key", 60, "FOB", "active", "2009-03-01", 22, 5),
    Distributor("Prairie States Spirits", "US", "three_tier", "growth", 60, "FOB", "active", "2018-07-01", 9, 4),
    Distributor("Maple Shield Agencies", "CA", "monopoly", "growth", 45, "FOB", "active", "2014-10-01", 6, 4),
    Distributor("Aoi Yoshu Trading", "JP", "importer", "key", 90, "CIF", "active", "2007-11-01", 10, 5),
    Distributor("Jade Strait Wines", "TW", "importer", "key", 60, "CIF", "active", "2011-05-01", 13, 5),
    Distributor("Southern Cross Liquor", "AU", "wholesale", "growth", 45, "CIF", "active", "2016-01-01", 6, 4),
    Distributor("Veld & Vine", "ZA", "importer", "tail", 30, "CIF", "active", "2020-08-01", 4, 3),
    Distributor("Concourse Duty Free", "GTR", "duty_free", "key", 60, "FOB", "active", "2013-03-01", 18, 5),
    Distributor("Lakeland Bottle Company", "GB", "wholesale", "tail", 30, "DAP", "terminated", "2016-05-01", 0, 0),
]

WAREHOUSES: list[Row] = [
    ("W1", "No. 1 Dunnage", "dunnage", "Speyside", 90, 1887),
    ("W2", "No. 2 Dunnage", "dunnage", "Speyside", 70, 1923),
    ("W3", "Shore Warehouse", "dunnage", "Islay", 80, 1901),
    ("W4", "Racked House A", "racked", "Highland", 130, 1968),
    ("W5", "Racked House B", "racked", "Lowland", 130, 1974),
    ("W6", "Palletised Store", "palletised", "Lowland", 160, 2009),
]

CASK_TYPES: list[Row] = [
    ("quarter_cask", 125, 2.6),
    ("barrel", 200, 2.1),
    ("hogshead", 250, 2.0),
    ("butt", 500, 1.7),
    ("puncheon", 500, 1.7),
]

AGE_BANDS: list[Row] = [
    ("new make, under 3", 0, 3, "false"),
    ("3 to 7 years", 3, 8, "true"),
    ("8 to 11 years", 8, 12, "true"),
    ("12 to 17 years", 12, 18, "true"),
    ("18 to 24 years", 18, 25, "true"),
    ("25 years and over", 25, 100, "true"),
]

HOME_WAREHOUSES = {
    "B01": ["W1", "W2"],
    "B02": ["W3"],
    "B03": ["W4"],
    "B04": ["W5"],
    "B05": ["W3", "W4"],
    "B06": ["W6"],
}


def add_months(month: date, months: int) -> date:
    index = month.year * 12 + month.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def last_day(month: date) -> date:
    return add_months(month, 1) - timedelta(days=1)


def skus_by_id() -> dict[str, Sku]:
    """The SKUs by their ids, numbered within their brand."""
    by_id: dict[str, Sku] = {}
    for sku in SKUS:
        number = sum(known.brand_id == sku.brand_id for known in by_id.values()) + 1
        by_id[f"{sku.brand_id}-{number:02d}"] = sku
    return by_id
