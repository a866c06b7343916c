"""The simulated S3 and DynamoDB: what a client finds there, and what is still there after a restart."""

from __future__ import annotations

from pathlib import Path

import duckdb
import duckdb_extension_httpfs
import pytest

from tests.support.key_value import KeyValueStore, running_key_value_store
from tests.support.webserver import wait_until

TABLE = {
    "TableName": "rates",
    "KeySchema": [{"AttributeName": "pair", "KeyType": "HASH"}, {"AttributeName": "day", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "pair", "AttributeType": "S"},
        {"AttributeName": "day", "AttributeType": "S"},
        {"AttributeName": "rate", "AttributeType": "N"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by_rate",
            "KeySchema": [{"AttributeName": "rate", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
    "BillingMode": "PAY_PER_REQUEST",
}
ITEM = {"pair": {"S": "EURSEK"}, "day": {"S": "2026-01-31"}, "rate": {"N": "11.25"}, "raw": {"B": b"\x00\xff"}}


def test_buckets_objects_tables_and_items_survive_a_restart(folder: Path) -> None:
    with running_key_value_store(folder) as before:
        s3, dynamodb = before.client("s3"), before.client()
        s3.create_bucket(Bucket="bronze")
        s3.put_object(Bucket="bronze", Key="a/b c?.txt", Body=b"one", ContentType="text/plain", Metadata={"day": "1"})
        s3.put_object(Bucket="bronze", Key="gone", Body=b"two")
        s3.delete_object(Bucket="bronze", Key="gone")
        dynamodb.create_table(**TABLE)
        dynamodb.put_item(TableName="rates", Item=ITEM)
    with running_key_value_store(folder) as after:
        s3, dynamodb = after.client("s3"), after.client()
        assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="bronze")["Contents"]] == ["a/b c?.txt"]
        found = s3.get_object(Bucket="bronze", Key="a/b c?.txt")
        assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (b"one", "text/plain", {"day": "1"})
        assert dynamodb.scan(TableName="rates")["Items"] == [ITEM]
        by_rate = dynamodb.query(
            TableName="rates",
            IndexName="by_rate",
            KeyConditionExpression="rate = :rate",
            ExpressionAttributeValues={":rate": {"N": "11.25"}},
        )
        assert by_rate["Items"] == [ITEM]


def test_what_was_written_is_kept_while_the_server_runs(folder: Path) -> None:
    """So that it survives a kill as well."""
    state = folder / "state.json"
    with running_key_value_store(folder) as store:
        store.client().create_table(**TABLE)
        wait_until(lambda: state.is_file() and "rates" in state.read_text(), "the table is kept")


@pytest.mark.parametrize("rows", [10, 1_000_000])
def test_duckdb_writes_and_reads_parquet_there(key_value_store: KeyValueStore, rows: int) -> None:
    """A million rows go up in several parts."""
    key_value_store.client("s3").create_bucket(Bucket=f"rows-{rows}")
    extension = next(Path(duckdb_extension_httpfs.__file__).parent.glob("extensions/*/httpfs.duckdb_extension"))
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute(f"load '{extension}'")
        endpoint = key_value_store.endpoint.removeprefix("http://")
        connection.execute(
            "create secret (type s3, key_id 'any', secret 'any', region 'us-east-1', url_style 'path', use_ssl false,"
            f" endpoint '{endpoint}')"
        )
        file = f"s3://rows-{rows}/all.parquet"
        connection.execute(f"copy (select range as id, md5(range::text) as text from range({rows})) to '{file}'")
        assert connection.execute(f"select count(distinct id) from '{file}'").fetchone() == (rows,)
