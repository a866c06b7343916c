"""What is removed of the instance's records once runs have ended long ago, and what never is.

Removed are events, check executions, runs and snapshots. Kept for ever is the last event of each kind of an asset, and
of each of its partitions, the last execution and the last result of a check, and every run that one of these, or an
asset, names: what the asset pages, automation and partitions go by. So is a run that a sensor knows by its key, which
would ask for it again. All of it is done in small steps, each one statement, so that nobody waits for it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import text

from dagster_apollo.runs.pools import pool_of

_RUNS_AT_ONCE = 100
_EVENTS_AT_ONCE = 5_000
# Where it stands, since a snapshot does not say when it was stored: the highest number there was a day ago.
_WATERMARK_KEY = "apollo_snapshot_watermark"
_SNAPSHOT_DAYS = 1.0
_PLAN_OF_RUN = '"execution_plan_snapshot_id": "([0-9a-f]+)"'
_PARENT_OF_JOB = re.compile(rb'"parent_snapshot_id": "([0-9a-f]+)"')

# Of an asset and of each of its partitions, the last event of each kind.
_IS_LAST_OF_ASSET = """
    e.asset_key is not null and not exists (
        select from event_logs l where l.asset_key = e.asset_key and l.dagster_event_type = e.dagster_event_type
        and l.partition is not distinct from e.partition and l.id > e.id)"""
_REMOVE_EVENTS = f"""
    with gone as (
        delete from event_logs e where e.id = any(:ids) and not ({_IS_LAST_OF_ASSET})
        and e.id not in (select c.evaluation_event_storage_id from asset_check_executions c
                         where c.run_id = any(:runs) and c.evaluation_event_storage_id is not null)
        returning e.id),
    tags as (delete from asset_event_tags t where t.event_id in (select id from gone))
    select count(*) from gone"""  # noqa: S608  no text of anybody's
# An execution that is neither the check's last nor its last result.
_REMOVE_CHECKS = """
    delete from asset_check_executions c where c.run_id = any(:runs)
    and c.evaluation_event_timestamp < :before
    and exists (select from asset_check_executions l where l.asset_key = c.asset_key and l.check_name = c.check_name
                and l.partition is not distinct from c.partition and l.id > c.id)
    and (c.execution_status not in ('SUCCEEDED', 'FAILED') or exists (
        select from asset_check_executions l where l.asset_key = c.asset_key and l.check_name = c.check_name
        and l.partition is not distinct from c.partition and l.id > c.id
        and l.execution_status in ('SUCCEEDED', 'FAILED')))"""
_REMOVE_RUNS = """
    delete from runs r where r.run_id = any(:runs)
    and not exists (select from event_logs e where e.run_id = r.run_id)
    and not exists (select from asset_check_executions c where c.run_id = r.run_id)
    and not exists (select from asset_keys a where a.last_run_id = r.run_id)
    and not exists (select from run_tags t where t.run_id = r.run_id and t.key = 'dagster/run_key')"""
_NEXT_RUNS = """
    select id, run_id from runs where id > :after and status in ('SUCCESS', 'FAILURE', 'CANCELED')
    and update_timestamp < :before order by id limit :limit"""
# What Dagster stores without a run: reported materializations, observations, how fresh something is.
_NEXT_EVENTS = """
    select id from event_logs where run_id = any(:runs) and id > :after and timestamp < :before
    order by id limit :limit"""
_REMOVE_SNAPSHOTS = "delete from snapshots where id <= :watermark and not snapshot_id = any(:kept)"


@dataclass(frozen=True)
class Removed:
    """How much was removed."""

    events: int = 0
    runs: int = 0
    snapshots: int = 0

    def __bool__(self) -> bool:
        return bool(self.events or self.runs or self.snapshots)

    def __str__(self) -> str:
        return f"{self.events} events, {self.runs} runs, {self.snapshots} snapshots"


def remove_old_records(url: str, days: int, is_ended: Callable[[], bool] = lambda: False) -> Removed:
    """Remove what belongs to runs that ended longer ago than that.

    Args:
        url: the instance's database, with its driver.
        days: how long records are kept.
        is_ended: asked between two steps, whether to leave the rest for the next time.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database does not answer; what was done is done.
    """
    with pool_of(url).engine.connect() as connection:
        before = connection.execute(
            text("select (now() at time zone 'utc') - make_interval(days => :days)"), {"days": days}
        ).scalar_one()
        events = runs = 0
        for chosen in _old_runs(connection, before):
            if is_ended():
                return Removed(events, runs)
            events += _remove_events(connection, chosen, before)
            runs += connection.execute(text(_REMOVE_RUNS), {"runs": chosen}).rowcount
        events += _remove_events(connection, [""], before)
        return Removed(events, runs, _remove_snapshots(connection))


def _old_runs(connection: sqlalchemy.Connection, before: object) -> Iterator[list[str]]:
    after = 0
    while True:
        chosen = {"after": after, "before": before, "limit": _RUNS_AT_ONCE}
        rows = connection.execute(text(_NEXT_RUNS), chosen).all()
        if not rows:
            return
        yield [run_id for _, run_id in rows]
        after = rows[-1][0]


def _remove_events(connection: sqlalchemy.Connection, runs: list[str], before: object) -> int:
    connection.execute(text(_REMOVE_CHECKS), {"runs": runs, "before": before})
    removed = after = 0
    while True:
        chosen = {"runs": runs, "after": after, "before": before, "limit": _EVENTS_AT_ONCE}
        ids = list(connection.execute(text(_NEXT_EVENTS), chosen).scalars())
        if not ids:
            return removed
        removed += connection.execute(text(_REMOVE_EVENTS), {"ids": ids, "runs": runs}).scalar_one()
        after = ids[-1]


def _remove_snapshots(connection: sqlalchemy.Connection) -> int:
    """Remove jobs' and plans' snapshots that no run is of; none that came within a day, whose run may be on its way."""
    row = connection.execute(
        text(
            "select split_part(value, ' ', 1)::bigint,"
            " extract(epoch from now()) - split_part(value, ' ', 2)::float > :seconds from kvs where key = :key"
        ),
        {"key": _WATERMARK_KEY, "seconds": _SNAPSHOT_DAYS * 86_400},
    ).first()
    if row is not None and not row[1]:
        return 0
    removed = 0
    if row is not None:
        kept = {"watermark": row[0], "kept": sorted(_snapshots_in_use(connection))}
        removed = connection.execute(text(_REMOVE_SNAPSHOTS), kept).rowcount
    connection.execute(
        text(
            "insert into kvs (key, value)"
            " select :key, coalesce(max(id), 0) || ' ' || extract(epoch from now()) from snapshots"
            " on conflict (key) do update set value = excluded.value"
        ),
        {"key": _WATERMARK_KEY},
    )
    return removed


def _snapshots_in_use(connection: sqlalchemy.Connection) -> Collection[str]:
    """Those of runs' jobs and plans, and those of the jobs that a run is a part of."""
    question = "select distinct snapshot_id, substring(run_body from :plan) from runs"
    jobs, plans = set(), set()
    for job, plan in connection.execute(text(question), {"plan": _PLAN_OF_RUN}):
        jobs.add(job)
        plans.add(plan)
    parents = set()
    for job in jobs - {None}:
        body = connection.execute(
            text("select snapshot_body from snapshots where snapshot_id = :id"), {"id": job}
        ).scalar_one_or_none()
        if body and (found := _PARENT_OF_JOB.search(zlib.decompress(body))):
            parents.add(found.group(1).decode())
    return (jobs | plans | parents) - {None}
