"""A sensor a receiver, which tells it of the runs that ended in the code location that the sensor is served from.

Not Dagster's own run-failure sensors: those go on past what could not be told, and each of them is told once for all
receivers. Here a receiver that is down has its sensor's ticks fail, is told when it is back, and keeps nobody else
waiting. It may be told twice when the daemon dies between the telling and its being written down, never not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg

from dagster_apollo.notifications.ended_runs import ended_run, is_taken_up_again, is_undecided
from dagster_apollo.notifications.receivers import Receiver, receivers
from dagster_apollo.settings import Values
from dagster_apollo.tenant import Tenant

# Seconds. What was written down later than what follows it, since a transaction took long, is still found; so is what
# ended before the sensor's first look.
OVERLAP_SECONDS = 300.0
# Seconds for one look: Dagster gives a sensor sixty, and each message may take some.
LOOK_SECONDS = 20.0
# Runs of one look; what is left follows with the next.
MOST_RUNS = 500
# Dagster's own tag of the repository and code location that a run belongs to, on every run that was launched.
_REPOSITORY_TAG = ".dagster/repository"


@dataclass
class Told:
    """What a sensor remembers.

    Attributes:
        since: up to when everything that ended has been dealt with, in seconds of the epoch.
        runs: what was dealt with shortly before that and after it, with the time of its end.
    """

    since: float
    runs: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, cursor: str | None, now: float) -> Told:
        """From a cursor; the first look begins a little before now."""
        return cls(**json.loads(cursor)) if cursor else cls(now)

    def written(self) -> str:
        """As a cursor."""
        return json.dumps({"since": self.since, "runs": self.runs})


def notification_sensors(
    tenant: Tenant, values: Values, environ: Mapping[str, str], domain: str | None
) -> list[dg.SensorDefinition]:
    """The sensors of a tenant's receivers, running by declaration.

    Args:
        tenant: whose.
        values: the settings as the tenant sees them.
        environ: the tenant's variables.
        domain: the fork's host name, for links where APOLLO_PUBLIC_URL is not set. Without either a run is called by
            its id.

    Raises:
        SettingsError: with every variable that is not set or holds no Apprise URL.
    """
    public_url = values.text("APOLLO_PUBLIC_URL") or (f"https://{domain}" if domain else None)
    interval = values.integer("APOLLO_NOTIFY_SECONDS") or 1
    told = receivers(tenant, environ, local=values.target == "local")
    return [_sensor(tenant.name, receiver, public_url, interval) for receiver in told]


def _sensor(tenant: str, receiver: Receiver, public_url: str | None, interval_seconds: int) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{tenant}__tell_{receiver.variable.lower().removeprefix(f'{tenant.lower()}__')}",
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells the receiver in {receiver.variable} of failures.",
        tags={"apollo/group": "*"},  # in each location, for the runs of that location
    )
    def tell(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        origin = context.code_location_origin
        label = f"{context.repository_name}@{origin.location_name if origin else tenant}"
        told = Told.read(context.cursor, time.time())
        count = tell_of_ended_runs(context.instance, label, tenant, receiver, public_url, told)
        reason = f"{count} messages sent" if count else "nothing to tell"
        return dg.SensorResult(cursor=told.written(), skip_reason=reason)

    return tell


def tell_of_ended_runs(
    instance: dg.DagsterInstance, repository: str, tenant: str, receiver: Receiver, public_url: str | None, told: Told
) -> int:
    """Tell a receiver of every run that ended and was not told yet.

    Args:
        instance: Dagster's.
        repository: whose runs, `repository@location`.
        tenant: the tenant's id.
        receiver: who is told.
        public_url: the webserver's address.
        told: what was dealt with; brought up to date.

    Returns:
        How many messages were taken.

    Raises:
        NotificationError: the first message of this look was not taken; `told` is as it was. When another was not,
            the next look tells of it.
    """
    began = time.monotonic()
    sent, dealt_with = 0, 0
    waiting: list[float] = []
    for record in _ended(instance, repository, receiver, told.since - OVERLAP_SECONDS):
        run = record.dagster_run
        end = record.end_time or record.update_timestamp.timestamp()
        if run.run_id in told.runs or end < told.since - OVERLAP_SECONDS:
            continue
        if is_undecided(instance, run, time.time() - end) or time.monotonic() - began > LOOK_SECONDS:
            waiting.append(end)
            continue
        try:
            message = None if is_taken_up_again(run) else ended_run(instance, run).message(tenant, receiver, public_url)
            if message:
                receiver.send(message)
                sent += 1
        except Exception:  # the receiver is down, or the database did not answer
            if not dealt_with:
                raise
            waiting.append(end)
            break  # the cursor of what went well is kept only by a tick that does not fail
        dealt_with += 1
        told.runs[run.run_id] = end
    told.since = min([*waiting, max([told.since, *told.runs.values()])])
    told.runs = {run_id: end for run_id, end in told.runs.items() if end >= told.since - OVERLAP_SECONDS}
    return sent


def _ended(instance: dg.DagsterInstance, repository: str, receiver: Receiver, since: float) -> Iterator[dg.RunRecord]:
    statuses = [dg.DagsterRunStatus.FAILURE]
    if receiver.failed_checks:
        statuses.append(dg.DagsterRunStatus.SUCCESS)
    filters = dg.RunsFilter(
        statuses=statuses,
        tags={_REPOSITORY_TAG: repository},
        updated_after=datetime.fromtimestamp(since, UTC),
    )
    yield from instance.get_run_records(filters, limit=MOST_RUNS, order_by="update_timestamp", ascending=True)
