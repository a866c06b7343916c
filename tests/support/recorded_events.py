"""A run's events, of which two runs of the same are equal: what names the run, its time and its process is left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg

# Of a materialization: how long it took, and what the run and the records before it are called.
_OF_ONE_RUN = {"Execution Duration", "invocation_id", "dagster/run_id"}
_NUMBER = re.compile(r"\d+(\.\d+)?")
_DURATION = re.compile(r" in [\d.hms]+$")
Told = tuple[Any, ...]


def told(
    instance: dg.DagsterInstance,
    run_id: str,
    types: Collection[dg.DagsterEventType] = (),
    without: Collection[str] = (),
) -> Counter[Told]:
    """How often a run told what: type, step, and what the event is about.

    Args:
        instance: where the run is recorded.
        run_id: which.
        types: the events of these types alone; none: all, and what was logged.
        without: the names of metadata to leave out.
    """
    entries = instance.all_logs(run_id, of_type=set(types) or None)
    return Counter(_told(entry, without) for entry in entries)


def _told(entry: dg.EventLogEntry, without: Collection[str]) -> Told:
    event = entry.dagster_event
    if event is None:
        return ("log", entry.level, _NUMBER.sub("N", entry.user_message))
    about: tuple[Any, ...] = ()
    data: Any = event.event_specific_data
    match event.event_type:
        case dg.DagsterEventType.ASSET_MATERIALIZATION:
            made = data.materialization
            about = (
                made.asset_key.to_user_string(),
                made.partition,
                _metadata(made.metadata, without),
                _tags(made.tags),
            )
        case dg.DagsterEventType.ASSET_OBSERVATION:
            seen = data.asset_observation
            about = (seen.asset_key.to_user_string(), _metadata(seen.metadata, without), _tags(seen.tags))
        case dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            about = (
                data.asset_key.to_user_string(),
                data.check_name,
                data.passed,
                data.severity.value,
                data.blocking,
                data.target_materialization_data is not None,
                _metadata(data.metadata, without),
            )
        case dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
            about = (data.asset_key.to_user_string(), data.partition)
        case dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            about = (data.asset_key.to_user_string(), data.check_name)
        case dg.DagsterEventType.STEP_OUTPUT:
            about = (data.step_output_handle.output_name, _metadata(data.metadata, without))
        case dg.DagsterEventType.STEP_FAILURE:
            failed = data.user_failure_data
            # What failed stands in the order of a set.
            about = tuple(
                sorted(re.split(r"[\s,:]+", _NUMBER.sub("N", failed.description if failed else data.error.message)))
            )
        case dg.DagsterEventType.ENGINE_EVENT:
            about = (_NUMBER.sub("N", _DURATION.sub("", event.message or "")),)
    return (event.event_type_value, event.step_key, *about)


def _metadata(metadata: Mapping[str, Any], without: Collection[str]) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        sorted(
            (name, type(value).__name__, "" if name in _OF_ONE_RUN else str(value.value))
            for name, value in metadata.items()
            if name not in without
        )
    )


def _tags(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Which record something was made from is a number of the storage's."""
    return tuple(sorted((name, "" if "event_pointer" in name else value) for name, value in tags.items()))
