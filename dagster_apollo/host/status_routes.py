"""`GET /status` as JSON, and as the text that Prometheus reads; `GET /metrics` is the latter.

Behind the login like everything else; a monitor uses a token. Somebody who sees only some tenants is shown those.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dagster_apollo.access.users import User
from dagster_apollo.host.status import Status, StatusReader

_NEVER = {"Cache-Control": "no-store"}


def status_routes(reader: StatusReader) -> list[Route]:
    """The routes of the status, for a webserver that puts a `User` into every request."""

    async def seen(request: Request) -> Status:
        user = request.scope["user"]
        assert isinstance(user, User)  # noqa: S101
        return (await run_in_threadpool(reader.read)).seen_by(user.readable)

    async def status(request: Request) -> Response:
        """503 when it is red, so that a monitor need not read."""
        if request.query_params.get("format") == "prometheus" or _wants_text(request):
            return await metrics(request)
        reading = await seen(request)
        return JSONResponse(reading.as_dict(), 200 if reading.ok else 503, _NEVER)

    async def metrics(request: Request) -> Response:
        """Always 200: what is red is a number there."""
        return Response(prometheus(await seen(request)), 200, _NEVER, CONTENT_TYPE_PLAIN_0_0_4)

    return [Route("/status", status), Route("/metrics", metrics)]


def prometheus(status: Status) -> bytes:
    """A reading in Prometheus' text format."""
    registry = CollectorRegistry()

    def gauge(name: str, help: str, *labels: str) -> Gauge:
        return Gauge(f"apollo_{name}", help, labels, registry=registry)

    gauge("ok", "1 when nothing is wrong that a person has to act on.").set(status.ok)
    gauge("database_up", "1 when the database answers.").set(status.database["ok"])
    if status.database["seconds"] is not None:
        gauge("database_round_trip_seconds", "How long the database took to answer.").set(status.database["seconds"])
    if status.code:
        gauge("code_host_up", "1 when the code host answers.").set(status.code["ok"])
    ages = gauge("daemon_heartbeat_age_seconds", "Age of the last heartbeat, by duty of the daemon.", "duty")
    for duty, age in status.daemon.get("heartbeats", {}).items():
        if age is not None:
            ages.labels(duty).set(age)
    loaded = gauge("location_loaded", "1 when a code location is loaded.", "location")
    for name, entry in status.locations.items():
        loaded.labels(name).set(entry.loaded)
    lag = gauge("schedule_lag_seconds", "How long ago the tick was that a schedule missed; 0: none.", "schedule")
    for name, behind in status.schedules.items():
        lag.labels(name).set(behind.seconds)
    if status.runs:
        runs = gauge("runs", "Runs in progress, by status.", "status")
        for name, count in status.runs["in_progress"].items():
            runs.labels(name).set(count)
        ended = gauge("runs_ended_in_a_day", "Runs that ended within the last 24 hours, by status.", "status")
        for name, count in status.runs["ended_in_a_day"].items():
            ended.labels(name).set(count)
        gauge("queue_oldest_seconds", "How long the first run in the queue has waited; 0: none waits.").set(
            status.runs["oldest_queued_seconds"]
        )
    release = {name: value or "" for name, value in status.as_dict().items() if name in ("version", "release", "image")}
    gauge("release_info", "What the webserver runs.", *release).labels(**release).set(1)
    return generate_latest(registry)


def _wants_text(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "text/plain" in accepted and "json" not in accepted and "text/html" not in accepted
