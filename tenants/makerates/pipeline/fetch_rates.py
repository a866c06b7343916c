"""Bronze: every answer of the provider as a Parquet object of its own, as it was given.

    python -m pipeline.fetch_rates

An answer that lies there already, by its digest, is not written again.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from dagster_pipes import open_dagster_pipes

from pipeline.events import Event, events_table, record
from pipeline.provider import Answer, answers
from pipeline.services import bucket_and_prefix, dynamodb, in_plain_words, objects, s3


@dataclass(frozen=True)
class Stored:
    """An answer as it lies in the object store."""

    answer: Answer
    rows: int
    size_bytes: int
    is_new: bool

    @property
    def event(self) -> Event:
        """That it was fetched."""
        return Event("bronze/rates", "fetched", self.answer.month, self.answer.digest, self.rows, self.size_bytes)


def main() -> None:
    with open_dagster_pipes() as pipes:
        began = time.monotonic()
        bucket, prefix = bucket_and_prefix("BRONZE_URL", "rates")
        with in_plain_words(f"s3://{bucket}"):
            client = s3()
            there = {entry["Key"] for entry in objects(client, bucket, prefix)}
            stored = [store(client, bucket, f"{prefix}{answer.month}.parquet", answer, there) for answer in answers()]
        for at in stored:
            print(f"{at.answer.month}: {at.rows} rows, {'written' if at.is_new else 'unchanged'}")
        with in_plain_words("the key-value store"):
            events = events_table(dynamodb())
            recorded = sum(record(events, at.event) for at in stored)
        currencies = {frozenset(rates) for at in stored for rates in at.answer.rates.values()}
        pipes.report_asset_check(
            check_name="every_day_has_every_currency",
            passed=len(currencies) == 1,
            metadata={"currencies": sorted(frozenset().union(*currencies))},
        )
        pipes.report_asset_materialization(
            metadata={
                "dagster/row_count": sum(at.rows for at in stored),
                "bytes": sum(at.size_bytes for at in stored),
                "seconds": round(time.monotonic() - began, 3),
                "objects": len(stored),
                "objects_written": sum(at.is_new for at in stored),
                "events_recorded": recorded,
            }
        )


def store(client: Any, bucket: str, key: str, answer: Answer, there: set[str]) -> Stored:
    """Put an answer where it belongs, unless it lies there."""
    if key in there:
        found = client.head_object(Bucket=bucket, Key=key)
        if found["Metadata"].get("digest") == answer.digest:
            return Stored(answer, int(found["Metadata"]["rows"]), found["ContentLength"], False)
    rows = [
        (day, answer.base, currency, rate, answer.published_at, answer.month)
        for day, rates in answer.rates.items()
        for currency, rate in rates.items()
    ]
    content = parquet(rows)
    told = {"digest": answer.digest, "rows": str(len(rows))}
    client.put_object(Bucket=bucket, Key=key, Body=content, Metadata=told)
    return Stored(answer, len(rows), len(content), True)


def parquet(rows: list[tuple[Any, ...]]) -> bytes:
    """The rows as a Parquet file."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        file = Path(folder) / "rates.parquet"
        connection.execute(
            "create table rates (day date, base varchar, currency varchar, rate double, published_at timestamptz, "
            "month varchar)"
        )
        connection.executemany("insert into rates values (?, ?, ?, ?, ?, ?)", rows)
        connection.table("rates").write_parquet(str(file))
        return file.read_bytes()


if __name__ == "__main__":
    main()
