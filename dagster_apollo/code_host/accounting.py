"""What becomes of a run whose process died: it is marked as failed, with how the process ended.

In a fork of the zygote that is the tenant's user, so that it happens also where the tenant's own process is gone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster import DagsterRunStatus

from dagster_apollo.code_host.dagster_internals import (
    DagsterInstance,
    ExecuteExternalJobArgs,
    deserialize_value,
    get_run_crash_explanation,
)
from dagster_apollo.code_host.lines import Line
from dagster_apollo.errors import HostError, Problem
from dagster_apollo.host.compute_logs import remove_captured
from dagster_apollo.host.role import TENANT_VARIABLE


def main(line: Line, given: Mapping[str, Any]) -> int:
    """Mark the run that `arguments` name, unless it has ended."""
    arguments = deserialize_value(given["arguments"], ExecuteExternalJobArgs)
    if arguments.instance_ref is None:
        raise HostError([Problem(str(arguments.run_id), "names no instance", "Start it by the run launcher.")])
    with DagsterInstance.from_ref(arguments.instance_ref) as instance:
        run = instance.get_run_by_id(arguments.run_id)
        if run and not run.is_finished:
            prefix = f"Run execution process for {run.run_id}"
            code = given["code"]
            told = f"{prefix} is gone." if code is None else get_run_crash_explanation(prefix=prefix, exit_code=code)
            instance.report_engine_event(told, run)
            if run.status == DagsterRunStatus.CANCELING:
                instance.report_run_canceled(run)
            else:
                instance.report_run_failed(run)
    # Its own process would have removed them; what forked it does, where that lives.
    folder = Path(os.environ["APOLLO_STATE_DIR"]) / "tenants" / os.environ[TENANT_VARIABLE] / "runs"
    for left in folder.glob(f"{arguments.run_id}-*"):
        shutil.rmtree(left, ignore_errors=True)
    remove_captured(arguments.run_id)
    return 0
