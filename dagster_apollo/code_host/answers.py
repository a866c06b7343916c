"""What the first process answers of runs, as Dagster's serdes writes it; the first process does not import Dagster.

A test holds each to Dagster's own class (dagster/_grpc/types.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable


def start_run_result(success: bool, message: str | None = None) -> str:
    """Whether a run was started."""
    return _result("StartRunResult", success=success, message=message, serializable_error_info=None)


def cancel_result(success: bool) -> str:
    """Whether a run was asked to stop."""
    return _result("CancelExecutionResult", success=success, message=None, serializable_error_info=None)


def can_cancel_result(can_cancel: bool) -> str:
    """Whether a run is here, and not asked to stop already."""
    return _result("CanCancelExecutionResult", can_cancel=can_cancel)


def current_runs_result(run_ids: Iterable[str]) -> str:
    """The runs that live here."""
    return _result("GetCurrentRunsResult", current_runs=list(run_ids), serializable_error_info=None)


def shutdown_result() -> str:
    """That a server was asked to end."""
    return _result("ShutdownServerResult", success=True, serializable_error_info=None)


def _result(kind: str, **fields: object) -> str:
    return json.dumps({"__class__": kind, **fields})
