"""How many runs the code host has memory for, as those who launch runs are told: by a value in the instance's database.

The code host computes it (`host/memory.py`) and stores it at its start; the queue has it as a limit beside those of
`dagster.yaml`.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from dagster_apollo.runs.dagster_tables import CAPACITY_KEY


def publish(instance: dg.DagsterInstance, runs: int) -> None:
    """Tell those who launch how many runs there may be at once."""
    instance.daemon_cursor_storage.set_cursor_values({CAPACITY_KEY: str(runs)})


def published(instance: dg.DagsterInstance) -> int | None:
    """What the code host said last; None: nothing yet."""
    text = instance.daemon_cursor_storage.get_cursor_values({CAPACITY_KEY}).get(CAPACITY_KEY, "")
    return int(text) if text.isdigit() else None


def with_capacity(instance: dg.DagsterInstance, config: Any) -> Any:
    """The instance's limits, with that of the code host's memory among them.

    Args:
        instance: Dagster's.
        config: its `ConcurrencyConfig`.
    """
    runs, queue = published(instance), config.run_queue_config
    if runs is None or queue is None or 0 <= queue.max_concurrent_runs <= runs:
        return config
    limited = queue._replace(max_concurrent_runs=runs)
    return type(config)(pool_config=config.pool_config, run_queue_config=limited)
