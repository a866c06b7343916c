"""Tables of a key-value store that speaks DynamoDB's API: made, read whole, and brought to hold what they should.

What is in them is `sync_rates.py`'s and `events.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, Any]


def table(store: Any, name: str, partition_key: str, sort_key: str) -> Any:
    """A table whose items are told apart by two texts, made if it is not there."""
    found = store.Table(name)
    try:
        found.load()
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        keys = {partition_key: "HASH", sort_key: "RANGE"}
        found = store.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        found.wait_until_exists()
    return found


def items(table: Any) -> list[Item]:
    """Everything in a table, page by page."""
    found: list[Item] = []
    page = table.scan(ConsistentRead=True)
    while True:
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            return found
        page = table.scan(ConsistentRead=True, ExclusiveStartKey=page["LastEvaluatedKey"])


def bring_to(table: Any, keys: tuple[str, str], wanted: Iterable[Item]) -> Mapping[str, int]:
    """Have a table hold these items and no others, writing only what differs.

    Returns:
        How many items were `written`, `removed` and left `unchanged`.
    """
    there = {_key(item, keys): item for item in items(table)}
    done = {"written": 0, "removed": 0, "unchanged": 0}
    with table.batch_writer() as batch:
        for item in wanted:
            if there.pop(_key(item, keys), None) == item:
                done["unchanged"] += 1
            else:
                batch.put_item(Item=item)
                done["written"] += 1
        for key in there:
            batch.delete_item(Key=dict(zip(keys, key, strict=True)))
            done["removed"] += 1
    return done


def _key(item: Mapping[str, Any], keys: tuple[str, str]) -> tuple[str, str]:
    return str(item[keys[0]]), str(item[keys[1]])
