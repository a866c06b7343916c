"""`apollo webserver`: Dagster's webserver, with who may see what, behind the login, and with its two kinds of health.

Assembly only. Who comes in is `access/`; which locations there are is `remote_workspace.py`; how well everything is,
`status.py`. `apollo dev` starts the same application, on loopback and without a login.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import uvicorn
from dagster import DagsterInstance
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dagster_apollo.access.identity.login import Login
from dagster_apollo.access.scoping.scoped_webserver import ScopedProcessContext, ScopedWebserver
from dagster_apollo.code_host.directory import split_address
from dagster_apollo.fork import load_fork
from dagster_apollo.host.collection import paused
from dagster_apollo.host.dagster_internals import configure_loggers
from dagster_apollo.host.front_client import calling_the_front
from dagster_apollo.host.instance import instance_id, lay_home
from dagster_apollo.host.late_jobs import reading_jobs_late
from dagster_apollo.host.migration import make_storage
from dagster_apollo.host.remote_workspace import RemoteWorkspace
from dagster_apollo.host.role import Release, become_unprivileged, code_token, role_settings, say, wait_for_database
from dagster_apollo.host.status import StatusReader
from dagster_apollo.host.status_routes import status_routes
from dagster_apollo.runs.pools import WEBSERVER
from dagster_apollo.runs.storage import widen

# What requests in progress are given after SIGTERM; a WebSocket is closed at once.
SHUTDOWN_SECONDS = 10
# And what ends the process after that: Python waits for its threads, however long they compute.
_END_SECONDS = SHUTDOWN_SECONDS + 2
# A page sends a subscription's text and no more.
_MAX_WEBSOCKET_BYTES = 1_000_000
# How often the UI asks for what is live.
_LIVE_DATA_MS = 2_000


def serve(environ: Mapping[str, str], root: Path, *, local: bool = False, migrate: bool = False) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        environ: the webserver's variables.
        root: the repository.
        local: it is a laptop's: there is no login, on loopback alone.
        migrate: make or upgrade the database's schema first.

    Raises:
        SettingsError: with everything that keeps it from starting, a login that is missing among it.
        HostError: the database did not answer with this version's schema.
    """
    interruption = _Interruption()
    values = role_settings(environ)
    if values["APOLLO_CONTAINER"]:
        become_unprivileged()
    place, token = split_address(values.text("APOLLO_CODE_HOST")), code_token(values)
    login = Login.none(str(values["APOLLO_BIND"])) if local else Login.configured(environ, load_fork(root), root)
    for note in login.notes:
        say(str(note))
    home = lay_home(environ, root)
    if migrate:
        make_storage(environ, home, say)
    wait_for_database(values)
    configure_loggers(log_level="INFO")
    with ExitStack() as stack:
        instance = stack.enter_context(DagsterInstance.from_config(str(home)))
        widen(instance, WEBSERVER)
        remote = RemoteWorkspace(*place, instance_id(instance))
        stack.enter_context(calling_the_front(remote.calls(token)))
        stack.enter_context(reading_jobs_late())
        with paused():  # it loads every location
            context = stack.enter_context(ScopedProcessContext(instance, workspace_load_target=remote))
        stack.callback(remote.keep_current(context).set)
        status = StatusReader(context, remote, values, Release.here(values))
        server = ScopedWebserver(
            context,
            public_routes=[*login.routes(), Route("/livez", alive)],
            routes=status_routes(status),
            middleware=[login.middleware()],
            audit=lambda event: login.audit.mutation(**event),
            live_data_poll_rate=_LIVE_DATA_MS,
        )
        address, port = str(values["APOLLO_BIND"]), values.integer("PORT") or 0
        say(f"the webserver listens on {address}:{port}{'' if login.is_open else ', behind its login'}")
        interruption.serving = True
        config = uvicorn.Config(
            server.create_asgi_app(),
            host=address,
            port=port,
            log_level="warning",
            proxy_headers=False,  # the login knows which proxies are trusted
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            ws_max_size=_MAX_WEBSOCKET_BYTES,
        )
        _Server(config).run()
    say("the webserver has ended")


async def alive(request: Request) -> JSONResponse:
    """`GET /livez`: the loop that serves requests turns. What else is wrong, no restart of this process mends."""
    return JSONResponse({"alive": True})


class _Server(uvicorn.Server):
    """uvicorn, after whose end the process ends too."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Not after run(): what waits for a thread that computes is waited for in there already.
        timer = threading.Timer(_END_SECONDS, _end)
        timer.daemon = True
        timer.start()
        await super().shutdown(sockets)


def _end() -> None:
    say("the webserver has ended, with requests that were still computing")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class _Interruption:
    """SIGTERM and SIGINT end the process well: at once while it starts, and by uvicorn's own way when it serves.

    uvicorn raises the signal that ended it once more when it is done; that one is passed over here.
    """

    def __init__(self) -> None:
        self.serving = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        if not self.serving:
            raise SystemExit(0)
