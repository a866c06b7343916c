"""The table of pipeline events: one item for each thing that came to be, beside the table of rates.

An event is told apart by what came to be, not by when: the asset, the part of it, what was done, and a digest of the
content. So a step that is run again, after a failure or for no reason, finds its events there and adds none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from dagster_pipes import PipesContext, PipesEnvVarParamsLoader

from pipeline.key_value import table


@dataclass(frozen=True)
class Event:
    """Something that came to be.

    Attributes:
        asset: which asset it is part of, `bronze/rates`.
        done: `fetched`, `built` or `synced`.
        part: which part of it: a month, an object, a table.
        digest: SHA-256 of the content.
        rows: how many it holds.
        size_bytes: how large it is, where that is known.
    """

    asset: str
    done: str
    part: str
    digest: str
    rows: int
    size_bytes: int = 0


def events_table(store: Any) -> Any:
    """The table, made if it is not there."""
    return table(store, os.environ["EVENTS_TABLE"], "asset", "event")


def record(events: Any, event: Event) -> bool:
    """Record an event, unless it is there.

    Returns:
        Whether it is new.
    """
    item = {
        "asset": event.asset,
        "event": f"{event.done}#{event.part}#{event.digest[:16]}",
        "rows": event.rows,
        "bytes": event.size_bytes,
        "run_id": _run_id(),
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        events.put_item(Item=item, ConditionExpression="attribute_not_exists(asset)")
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True


def _run_id() -> str:
    launched = PipesEnvVarParamsLoader().is_dagster_pipes_process()
    return str(PipesContext.get().run_id) if launched else "by hand"
