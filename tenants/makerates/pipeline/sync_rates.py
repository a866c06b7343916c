"""Gold into the key-value table of rates, and what was built and synced into the table of events.

    python -m pipeline.sync_rates

The table is brought to hold what gold holds and nothing else; what is the same already is not written again.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
from dagster_pipes import open_dagster_pipes

from pipeline.events import Event, events_table, record
from pipeline.key_value import Item, bring_to, items, table
from pipeline.services import bucket_and_prefix, dynamodb, in_plain_words, objects, s3

KEYS = ("pair", "period")
LAYERS = {"silver": "SILVER_URL", "gold": "GOLD_URL"}


@dataclass(frozen=True)
class Built:
    """A model as it lies in the object store."""

    asset: str
    size_bytes: int
    rows: list[dict[str, Any]]

    @property
    def event(self) -> Event:
        """That it was built: the same event for the same rows, whatever order and bytes they were written in."""
        return Event(self.asset, "built", Path(self.asset).name, digest(self.rows), len(self.rows), self.size_bytes)


def main() -> None:
    with open_dagster_pipes() as pipes:
        began = time.monotonic()
        with in_plain_words("the object store"):
            built = {model.asset: model for layer in LAYERS for model in models(s3(), layer)}
        if missing := [model for model in SYNCED if model not in built]:
            sys.exit(
                f"{os.environ['GOLD_URL']} does not hold what is synced: {', '.join(missing)}. Build it with dbt first."
            )
        wanted = [item for model, items_of in SYNCED.items() for item in items_of(built[model].rows)]
        with in_plain_words("the key-value store"):
            store = dynamodb()
            rates, events = table(store, os.environ["RATES_TABLE"], *KEYS), events_table(store)
            done = bring_to(rates, KEYS, wanted)
            there = digest(items(rates))
            happened = [
                *(model.event for model in built.values()),
                Event("dynamodb/rates", "synced", rates.name, there, len(wanted)),
            ]
            recorded = sum(record(events, event) for event in happened)
        seconds = round(time.monotonic() - began, 3)
        print(f"{done['written']} written, {done['removed']} removed, {done['unchanged']} unchanged")
        pipes.report_asset_check(
            check_name="table_equals_gold",
            asset_key="makerates/dynamodb/rates",
            passed=there == digest(wanted),
            metadata={"items": len(wanted)},
        )
        pipes.report_asset_materialization(
            asset_key="makerates/dynamodb/rates",
            metadata={
                "dagster/row_count": len(wanted),
                "bytes": sum(model.size_bytes for name, model in built.items() if name.startswith("gold/")),
                "seconds": seconds,
                **{f"items_{name}": number for name, number in done.items()},
            },
        )
        pipes.report_asset_materialization(
            asset_key="makerates/dynamodb/events",
            metadata={"dagster/row_count": len(items(events)), "events_recorded": recorded, "seconds": seconds},
        )


def models(client: Any, layer: str) -> Iterator[Built]:
    """What dbt left in a layer's bucket."""
    bucket, prefix = bucket_and_prefix(LAYERS[layer])
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        for entry in objects(client, bucket, prefix):
            file = Path(folder) / Path(entry["Key"]).name
            client.download_file(bucket, entry["Key"], str(file))
            found = connection.read_parquet(str(file))
            rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
            yield Built(f"{layer}/{file.stem}", entry["Size"], rows)


def latest_items(rows: list[dict[str, Any]]) -> Iterator[Item]:
    """The last rate of every pair of currencies."""
    for row in rows:
        yield _item(row, f"{row['base']}/{row['currency']}", "latest")


def month_items(rows: list[dict[str, Any]]) -> Iterator[Item]:
    """What a month was like for a pair."""
    for row in rows:
        yield _item(row, f"{row['base']}/{row['currency']}", str(row["month"]))


SYNCED = {"gold/cross_rates": latest_items, "gold/month_rates": month_items}


def _item(row: dict[str, Any], pair: str, period: str) -> Item:
    values = {name: value for name, value in row.items() if name not in ("base", "currency", "month")}
    return {
        "pair": pair,
        "period": period,
        **{name: _value(value) for name, value in values.items() if value is not None},
    }


def _value(value: Any) -> Any:
    # The store keeps numbers without trailing zeros, and knows no dates.
    return value.normalize() if isinstance(value, Decimal) else value if isinstance(value, int) else str(value)


def digest(rows: list[dict[str, Any]]) -> str:
    """SHA-256 of rows in any order."""
    told = sorted(repr(sorted((name, _told(value)) for name, value in row.items())) for row in rows)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _told(value: Any) -> str:
    return format(Decimal(value).normalize(), "f") if isinstance(value, Decimal | int) else str(value)


if __name__ == "__main__":
    main()
