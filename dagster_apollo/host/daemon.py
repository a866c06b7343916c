"""`apollo daemon`: Dagster's daemon on the code host's workspace, with a sign of life for the platform.

Schedules, sensors and backfills are Dagster's own; queue, watch over runs and recovery are `runs/`. It acts while it
holds the instance's lock, and waits while another does. The sign of life is a file that is touched as long as every one
of the daemon's threads lives and the loop that looks after them turns.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from dagster import DagsterInstance
from sqlalchemy.exc import SQLAlchemyError

from dagster_apollo.code_host.directory import split_address
from dagster_apollo.host.alive import HEARTBEAT_FILE
from dagster_apollo.host.compute_logs import remove_old_logs
from dagster_apollo.host.dagster_internals import (
    DagsterDaemonController,
    configure_loggers,
    daemon_controller_from_instance,
    daemon_threads,
    workspace_of,
)
from dagster_apollo.host.freshness import create_daemons
from dagster_apollo.host.front_client import calling_the_front
from dagster_apollo.host.instance import instance_id, lay_home
from dagster_apollo.host.late_jobs import reading_jobs_late
from dagster_apollo.host.memory import capacity_here
from dagster_apollo.host.remote_workspace import RemoteWorkspace
from dagster_apollo.host.role import (
    RELEASE_KEY,
    Release,
    become_unprivileged,
    code_token,
    role_settings,
    say,
    state_dir,
    wait_for_database,
)
from dagster_apollo.runs.capacity import publish
from dagster_apollo.runs.daemon_lock import only_daemon
from dagster_apollo.runs.duties import with_ours
from dagster_apollo.runs.liveness import instance_locks
from dagster_apollo.runs.pools import DAEMON
from dagster_apollo.runs.retention import remove_old_records
from dagster_apollo.runs.storage import widen
from dagster_apollo.runs.sweep import sweep

HEARTBEAT_SECONDS = 10
TOUCH_SECONDS = 5.0
_REMOVAL_SECONDS = 3600.0


def serve(environ: Mapping[str, str], root: Path) -> None:
    """Work until SIGTERM or SIGINT.

    Args:
        environ: the daemon's variables.
        root: the repository.

    Raises:
        SettingsError: with everything that keeps it from starting.
        HostError: the database did not answer with this version's schema.
    """
    values = role_settings(environ)
    if values["APOLLO_CONTAINER"]:
        become_unprivileged()
    place, token = split_address(values.text("APOLLO_CODE_HOST")), code_token(values)
    sign = SignOfLife(state_dir(values, root) / HEARTBEAT_FILE)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        with sign, ExitStack() as stack:
            home = lay_home(environ, root)
            wait_for_database(values)
            configure_loggers(log_level="INFO")
            instance = stack.enter_context(DagsterInstance.from_config(str(home)))
            widen(instance, DAEMON)
            # Held until all that is entered below has ended: what the daemon's threads have begun they bring to an end.
            stack.enter_context(only_daemon(instance_locks(instance, os.environ), say))
            if not values["DAGSTER_PG_URI"]:  # a laptop, whose memory is also that of the code host
                publish(instance, capacity_here(values).runs)
            sweep(instance, say)
            remote = RemoteWorkspace(*place, instance_id(instance))
            stack.enter_context(calling_the_front(remote.calls(token)))
            stack.enter_context(reading_jobs_late())
            controller = stack.enter_context(
                daemon_controller_from_instance(
                    instance,
                    workspace_load_target=remote,
                    heartbeat_interval_seconds=HEARTBEAT_SECONDS,
                    gen_daemons=lambda of: with_ours(of, create_daemons(of)),
                )
            )
            stack.callback(remote.keep_current(workspace_of(controller)).set)
            release = json.dumps({**asdict(Release.here(values)), "started": time.time()})
            instance.daemon_cursor_storage.set_cursor_values({RELEASE_KEY: release})
            if url := values.text("DAGSTER_PG_URI"):
                days = values.integer("APOLLO_LOG_DAYS") or 1, values.integer("APOLLO_RECORD_DAYS") or 1
                stack.callback(_keep_removing(url, *days).set)
            sign.watch(controller)
            say("the daemon is at work")
            controller.check_daemon_loop()
    except KeyboardInterrupt:
        say("the daemon has ended")


class SignOfLife:
    """Touches a file as long as all threads of the daemon live; use it as a context manager.

    Until it watches a controller the daemon waits, for the database perhaps: it lives.

    Args:
        file: made with its folder, removed at the end.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._controller: DagsterDaemonController | None = None
        self._ended = threading.Event()

    def watch(self, controller: DagsterDaemonController) -> None:
        """Touch it from now on only while this one's threads live."""
        self._controller = controller

    def __enter__(self) -> SignOfLife:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch()
        threading.Thread(target=self._touch, name="sign-of-life", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._file.unlink(missing_ok=True)

    def _touch(self) -> None:
        while not self._ended.wait(TOUCH_SECONDS):
            if self._controller is None or all(thread.is_alive() for thread in daemon_threads(self._controller)):
                os.utime(self._file)


def _keep_removing(url: str, log_days: int, record_days: int) -> threading.Event:
    """Remove old compute logs and records of runs now and then, in a thread; set the event to end it."""
    ended = threading.Event()

    def remove() -> None:
        while True:
            try:
                if chunks := remove_old_logs(url, log_days):
                    say(f"removed {chunks} chunks of compute logs older than {log_days} days")
                if removed := remove_old_records(url, record_days, ended.is_set):
                    say(f"removed {removed} of runs that ended more than {record_days} days ago")
            except SQLAlchemyError as error:
                say(f"old logs and records cannot be removed now: {type(error).__name__}")
            if ended.wait(_REMOVAL_SECONDS):
                return

    threading.Thread(target=remove, name="removal", daemon=True).start()
    return ended


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
