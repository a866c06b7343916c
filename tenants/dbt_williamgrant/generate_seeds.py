"""Writes this project's seeds: two years of the sales, stock and casks of an invented whisky company.

Everything here is synthetic, and the fixed seed gives the same files on every machine. Change the story in
`synthetic_company`, never in the CSV files, and run this again; `--check` says whether the committed files still are
what it writes.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from datetime import datetime
from pathlib import Path
from random import Random

from synthetic_company.company import AGE_BANDS, BRANDS, CASK_TYPES, MARKETS, Row, Sku, skus_by_id
from synthetic_company.maturation import maturation
from synthetic_company.trade import exchange_rates, trade

RANDOM_SEED = 1887
SEEDS = Path(__file__).parent / "seeds"

# The order of columns is that of the CSV files. `_loaded_at` stays empty here: dbt stamps it when it loads.
HEADERS = {
    "raw/raw_brands": "brand_id brand_name spirit_category region founded_year is_active",
    "raw/raw_skus": "sku_id brand_id sku_name age_statement_years cask_finish abv_percent bottle_size_ml "
    "bottles_per_case launched_on status",
    "raw/raw_price_list": "sku_id list_price_per_case_gbp updated_at",
    "raw/raw_shipments": "shipment_line_id order_number distributor_id sku_id shipped_on cases currency_code "
    "net_price_per_case",
    "raw/raw_forecasts": "brand_id market_code forecast_month cycle_month forecast_nine_litre_cases",
    "raw/raw_distributors": "distributor_id distributor_name market_code route_to_market tier payment_terms_days "
    "incoterm status contract_started_on",
    "raw/raw_depletions": "report_number distributor_id sku_id depletion_month report_version reported_on "
    "cases_depleted",
    "raw/raw_distributor_stock": "distributor_id sku_id stock_month counted_on cases_on_hand",
    "raw/raw_warehouses": "warehouse_id warehouse_name storage_style region capacity_casks opened_year",
    "raw/raw_casks": "cask_id brand_id warehouse_id cask_type previous_contents fill_number filled_on "
    "filled_bulk_litres filled_strength_percent",
    "raw/raw_cask_movements": "movement_number cask_id movement_type moved_on warehouse_id bulk_litres "
    "strength_percent bottling_id",
    "raw/raw_bottlings": "bottling_id sku_id bottled_on bottling_line cases_produced",
    "reference/ref_markets": "market_code market_name sales_region currency_code",
    "reference/ref_cask_types": "cask_type capacity_litres expected_loss_percent_per_year",
    "reference/ref_age_bands": "age_band from_years below_years is_scotch_whisky",
    "reference/ref_exchange_rates": "currency_code rate_month gbp_per_unit",
}


def sku_rows(skus: dict[str, Sku]) -> list[Row]:
    brand_names = {str(brand[0]): str(brand[1]) for brand in BRANDS}
    rows: list[Row] = []
    for sku_id, sku in skus.items():
        brand_name = brand_names[sku.brand_id]
        name = sku.expression if sku.expression.startswith(brand_name) else f"{brand_name} {sku.expression}"
        rows.append((sku_id, sku.brand_id, f"{name} {sku.bottle_ml / 10:g}cl", *sku[2:9]))
    return rows


def price_list(random: Random, skus: dict[str, Sku]) -> list[Row]:
    rows: list[Row] = []
    for sku_id, sku in skus.items():
        changed = datetime(2026, random.choice([1, 2, 4]), random.randint(1, 27), random.randint(8, 17), 30)
        rows.append((sku_id, f"{sku.list_price_gbp:.2f}", changed))
    return rows


def all_seeds() -> dict[str, str]:
    """Every seed by its path below `seeds/`, as the text of its CSV file."""
    random = Random(RANDOM_SEED)  # noqa: S311 - made-up figures, not cryptography
    skus = skus_by_id()
    rates = exchange_rates(random)
    tables: dict[str, list[Row]] = {
        "raw/raw_brands": BRANDS,
        "raw/raw_skus": sku_rows(skus),
        "raw/raw_price_list": price_list(random, skus),
        **trade(random, skus, rates),
        **maturation(random, skus),
        "reference/ref_markets": MARKETS,
        "reference/ref_cask_types": CASK_TYPES,
        "reference/ref_age_bands": AGE_BANDS,
        "reference/ref_exchange_rates": [(*key, f"{rate:.6f}") for key, rate in rates.items()],
    }
    texts: dict[str, str] = {}
    for name, rows in tables.items():
        is_raw = name.startswith("raw/")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADERS[name].split() + (["_loaded_at"] if is_raw else []))
        writer.writerows((*row, "") if is_raw else row for row in rows)
        texts[name] = text.getvalue()
    return texts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the synthetic seeds of this project.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a committed seed differs")
    check = parser.parse_args(arguments).check
    different: list[Path] = []
    for name, text in all_seeds().items():
        path = SEEDS / f"{name}.csv"
        if path.exists() and path.read_bytes() == text.encode():
            continue
        different.append(path)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
    if check and different:
        names = ", ".join(path.name for path in different)
        sys.stderr.write(f"Not what generate_seeds.py writes: {names}. Run it without --check and commit the files.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
