"""Ending runs for a good reason: each is told why, and cancelled by who executes it, so that dbt stops in order.

`python -m dagster_apollo.code_host.interruption HOST PORT` is what the first process starts when the time of its runs
is over, since it does not import Dagster itself; HOST and PORT are the front's. What such a run did not do is taken up
by another, wherever the code host is then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from dagster_apollo.code_host.calls import AUTHORIZATION, authorization
from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.host.role import become_unprivileged, code_token, say
from dagster_apollo.interruptions import marks
from dagster_apollo.runs.daemon_internals import (
    CancelExecutionRequest,
    DagsterGrpcClient,
    DagsterUserCodeUnreachableError,
    current_runs,
)
from dagster_apollo.settings import read

WHY = "The code host is told to end, and the time that its runs have is over: dbt is asked to stop. What is not built \
is taken up by another run."


def tell(instance: dg.DagsterInstance, run_id: str) -> None:
    """Say of a run that is about to be stopped why that is."""
    try:
        run = instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            instance.add_run_tags(run_id, marks("told to end", run_id, run.tags))
            instance.report_engine_event(WHY, run)
    except SQLAlchemyError as error:
        say(f"run {run_id}: it cannot be said why it ends: {type(error).__name__}")


def interrupt(instance: dg.DagsterInstance, client: DagsterGrpcClient) -> list[str]:
    """End the runs of a code host; those that were asked to.

    Raises:
        DagsterUserCodeUnreachableError: it does not answer.
    """
    asked = sorted(current_runs(client))
    for run_id in asked:
        tell(instance, run_id)
        client.cancel_execution(CancelExecutionRequest(run_id=run_id))
    return asked


def main(words: Sequence[str]) -> None:
    """End the runs of the code host whose front is on a host and port."""
    host, port = words
    values = read(dict(os.environ))
    if values["APOLLO_CONTAINER"]:
        become_unprivileged()
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    presented = [(AUTHORIZATION, authorization(code_token(values)))]
    client = DagsterGrpcClient(host=address, port=int(port), metadata=presented)
    with dg.DagsterInstance.from_config(str(repository_root())) as instance:
        try:
            runs = interrupt(instance, client)
        except DagsterUserCodeUnreachableError:
            say("the front cannot be asked to end its runs")
            return
    if runs:
        say(f"asked to stop: {', '.join(runs)}")


if __name__ == "__main__":
    main(sys.argv[1:])
