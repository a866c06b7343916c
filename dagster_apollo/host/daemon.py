"""`apollo daemon`: Dagster's daemon on the code host's workspace, with a sign of life for the platform.

Schedules, sensors, the queue and the watch over runs are Dagster's own. The sign of life is a file that is touched as
long as every one of the daemon's threads lives and the loop that looks after them turns.
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

from dagster_apollo.host.alive import HEARTBEAT_FILE
from dagster_apollo.host.compute_logs import remove_old_logs
from dagster_apollo.host.dagster_internals import (
    DagsterDaemonController,
    configure_loggers,
    daemon_controller_from_instance,
    daemon_threads,
    workspace_of,
)
from dagster_apollo.host.directory import split_address
from dagster_apollo.host.freshness import create_daemons
from dagster_apollo.host.instance import instance_id, lay_home
from dagster_apollo.host.remote_workspace import RemoteWorkspace, file_workspace
from dagster_apollo.host.role import (
    RELEASE_KEY,
    Release,
    become_unprivileged,
    role_settings,
    say,
    state_dir,
    wait_for_database,
)

HEARTBEAT_SECONDS = 10
TOUCH_SECONDS = 5.0
_LOG_REMOVAL_SECONDS = 3600.0


def serve(environ: Mapping[str, str], root: Path, *, workspace: Path | None = None) -> None:
    """Work until SIGTERM or SIGINT.

    Args:
        environ: the daemon's variables.
        root: the repository.
        workspace: a `workspace.yaml` in place of APOLLO_CODE_HOST.

    Raises:
        SettingsError: with everything that keeps it from starting.
        HostError: the database did not answer with this version's schema.
    """
    values = role_settings(environ)
    if values["APOLLO_CONTAINER"]:
        become_unprivileged()
    place = None if workspace else split_address(values.text("APOLLO_CODE_HOST"))
    sign = SignOfLife(state_dir(values, root) / HEARTBEAT_FILE)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        with sign, ExitStack() as stack:
            home = lay_home(environ, root)
            wait_for_database(values)
            configure_loggers(log_level="INFO")
            instance = stack.enter_context(DagsterInstance.from_config(str(home)))
            remote = RemoteWorkspace(*place, instance_id(instance)) if place else None
            controller = stack.enter_context(
                daemon_controller_from_instance(
                    instance,
                    workspace_load_target=remote or file_workspace(workspace or home / "workspace.yaml"),
                    heartbeat_interval_seconds=HEARTBEAT_SECONDS,
                    gen_daemons=create_daemons,
                )
            )
            if remote:
                stack.callback(remote.keep_current(workspace_of(controller)).set)
            release = json.dumps({**asdict(Release.here(values)), "started": time.time()})
            instance.daemon_cursor_storage.set_cursor_values({RELEASE_KEY: release})
            if url := values.text("DAGSTER_PG_URI"):
                stack.callback(_keep_removing(url, values.integer("APOLLO_LOG_DAYS") or 1).set)
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


def _keep_removing(url: str, days: int) -> threading.Event:
    """Remove old compute logs now and then, in a thread; set the event to end it."""
    ended = threading.Event()

    def remove() -> None:
        while True:
            try:
                if removed := remove_old_logs(url, days):
                    say(f"removed {removed} chunks of compute logs older than {days} days")
            except SQLAlchemyError as error:
                say(f"old compute logs cannot be removed now: {type(error).__name__}")
            if ended.wait(_LOG_REMOVAL_SECONDS):
                return

    threading.Thread(target=remove, name="log-removal", daemon=True).start()
    return ended


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
