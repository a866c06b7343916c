"""Captured output of runs, ticks and backfills as one user reads it, whichever compute log manager is configured.

Dagster asks `isinstance` of the manager to decide how output is served, so what is made here is a subclass of the real
one's class; it holds no state of it and hands every call that is permitted to the real one. Nothing is written through
it: output is captured where runs are, not in a webserver.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from dagster_apollo.access.scoping.dagster_internals import ComputeLogManager
from dagster_apollo.access.scoping.scope import Refused, Scope

# Reads of the output that a log key, or the beginning of one, names.
KEY_READS = frozenset(
    {
        "cloud_storage_has_logs",
        "complete_artifact_path",
        "display_path_for_type",
        "download_from_cloud_storage",
        "download_url_for_type",
        "get_captured_local_path",
        "get_captured_log_download_url",
        "get_log_data",
        "get_log_data_for_type",
        "get_log_keys_for_log_key_prefix",
        "get_log_metadata",
        "has_local_file",
        "is_capture_complete",
        "read_log_lines_for_log_key_prefix",
        "subscribe",
    }
)
# What tells nothing of any output. A subscription that was granted may be given up.
NEUTRAL = frozenset(
    {
        "build_cursor",
        "build_log_key_for_run",
        "has_instance",
        "parse_cursor",
        "polling_timeout",
        "unsubscribe",
        "upload_interval",
    }
)
# What was reviewed and is refused: it writes, ends the real manager, or reads by a path instead of a key.
LOG_REFUSED = frozenset(
    {
        "capture_logs",
        "config_type",
        "delete_logs",
        "from_config_value",
        "inst_data",
        "on_progress",
        "on_subscribe",
        "on_unsubscribe",
        "open_log_stream",
        "read_path",
        "upload_to_cloud_storage",
    }
)
# Answered whoever asks: what concerns the life of the real one, and where it keeps what it fetched, guarded likewise.
ALWAYS = frozenset({"dispose", "local_manager", "register_instance"})
_KEY_NAMES = ("log_key", "log_key_prefix")


def scoped_compute_logs(real: Any, scope: Scope) -> ComputeLogManager:
    """A view of a compute log manager.

    Args:
        real: the configured one.
        scope: of the user who reads.

    Returns:
        An instance of a subclass of its class, on which everything that is not a permitted read is refused.
    """
    base = type(real)
    members: dict[str, Any] = {}
    for name in dir(base):
        if name.startswith("_"):
            continue
        if name == "local_manager":
            members[name] = property(lambda self: scoped_compute_logs(real.local_manager, scope))
        elif name in ALWAYS:
            members[name] = lambda self, *args, **kwargs: None
        elif isinstance(inspect.getattr_static(base, name), property):
            members[name] = property(_property(real, name))
        else:
            members[name] = _method(real, name, scope)
    view: ComputeLogManager = object.__new__(type(f"Scoped{base.__name__}", (base,), members))
    return view


def _property(real: ComputeLogManager, name: str) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        if name not in NEUTRAL:
            raise Refused(f"compute logs: {name}")
        return getattr(real, name)

    return read


def _method(real: ComputeLogManager, name: str, scope: Scope) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        method = getattr(real, name)
        if name in KEY_READS:
            given = inspect.signature(method).bind(*args, **kwargs).arguments
            key = next((given[argument] for argument in _KEY_NAMES if argument in given), None)
            if not scope.sees_log_key(key):
                raise Refused("this output")
        elif name not in NEUTRAL:
            raise Refused(f"compute logs: {name}")
        return method(*args, **kwargs)

    return call
