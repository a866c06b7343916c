"""Every call of Dagster's code-server API: who makes it, and how the code host answers.

The one place that says so; the front acts by it, a test holds it to Dagster's own list, and the documentation shows
it. Only what needs a tenant's code wakes the tenant.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SERVICE = "/api.DagsterApi/"
# What goes with every call: what proves that one knows the token, and whose call it is.
AUTHORIZATION, LOCATION = "authorization", "apollo-location"

How = Literal["snapshot", "front", "first process", "tenant", "refused"]


def authorization(token: str) -> str:
    """What callers present, made of the token that webserver, daemon and code host share.

    Not the token: whoever came to hear it could sign with it what gives away a tenant's variables
    (`elsewhere/environments.py`).
    """
    return f"Bearer {hmac.new(token.encode(), b'apollo-front', hashlib.sha256).hexdigest()}"


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        made_by: who makes it, and when.
        how: who answers: the front from the location's snapshot, or by itself; the first process, which knows the
            runs; the tenant's server; nobody.
        streams: whether the answer comes in several messages.
        again: whether it may be asked once more, since it only computes: by the front when the tenant's server died of
            it, by webserver and daemon while the code host is started again.
    """

    made_by: str
    how: How
    streams: bool = False
    again: bool = False


CALLS: Mapping[str, Call] = {
    "Ping": Call("nobody in this project; a person with Dagster's own client", "front"),
    "Heartbeat": Call("clients of servers that they started themselves", "front"),
    "StreamingPing": Call("nobody in this project", "front", streams=True),
    "GetServerId": Call("webserver and daemon, when they load a location and before they launch a run", "front"),
    "ListRepositories": Call("webserver and daemon, at load; a load error is its answer", "snapshot"),
    "GetCurrentImage": Call("webserver and daemon, when they load a location without an image", "snapshot"),
    "ExternalRepository": Call("webserver and daemon, when they load a location", "snapshot"),
    "StreamingExternalRepository": Call("webserver and daemon, when they load a location", "snapshot", streams=True),
    "ExternalJob": Call("webserver and daemon, of every job, when they load a location", "snapshot"),
    "ExecutionPlanSnapshot": Call("webserver and daemon, before a run is made", "tenant", again=True),
    "ExternalPipelineSubsetSnapshot": Call("both, before a run of some assets is made", "tenant", again=True),
    "ExternalPartitionNames": Call("the webserver, for a job's partitions", "tenant", again=True),
    "ExternalPartitionConfig": Call("both, before a run of a partition is made", "tenant", again=True),
    "ExternalPartitionTags": Call("both, before a run of a partition is made", "tenant", again=True),
    "ExternalPartitionSetExecutionParams": Call("the daemon, for a backfill of a job", "tenant", streams=True),
    "ExternalScheduleExecution": Call("clients before Dagster 1.9", "tenant", streams=True),
    "SyncExternalScheduleExecution": Call("the daemon at a tick; the webserver when one is tried", "tenant"),
    "ExternalSensorExecution": Call("clients before Dagster 1.9", "tenant", streams=True),
    "SyncExternalSensorExecution": Call("the daemon at a tick; the webserver when one is tried", "tenant"),
    "RefreshComponentState": Call("the webserver, when a person asks for it", "tenant"),
    "ReloadCodeWithState": Call("Dagster's own agents; not by this project", "refused"),
    "ExternalNotebookData": Call("the webserver; it would read any file that the tenant can", "refused"),
    "ReloadCode": Call("the webserver, when a person reloads a location", "first process"),
    "ShutdownServer": Call("the webserver, when a person shuts a location down", "first process"),
    "StartRun": Call("the run launcher", "first process"),
    "CancelExecution": Call("the run launcher, when a run is terminated", "first process"),
    "CanCancelExecution": Call("the webserver, for a run's page", "first process"),
    "GetCurrentRuns": Call("the run launcher, when it looks after its runs", "first process"),
}
