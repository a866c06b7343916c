"""A small application behind the real login, served by a real uvicorn on loopback, for tests of the login alone.

It says who asks, as Dagster's webserver is told; its page has a policy with a nonce, as Dagster's has; its WebSocket
says a number again and again, as a subscription does. Dagster itself behind the login is in tests/e2e.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from dagster_apollo.access.audit import AuditLog
from dagster_apollo.access.identity.access_file import (
    AccessFile,
    TokenEntry,
    UserEntry,
    digest_of,
    new_token,
    render,
    utc_now,
)
from dagster_apollo.access.identity.login import Login
from dagster_apollo.access.identity.passwords import hash_password
from dagster_apollo.fork import Fork, parse_fork
from tests.support.ports import free_port

SECRET = "f0e1d2c3b4a5968778695a4b3c2d1e0f-for-tests"
PASSWORD = "nine wet otters sing"
_HASH = hash_password(PASSWORD)
# By what a browser's navigation is told from a program's request.
BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@dataclass
class Guarded:
    """A running application.

    Attributes:
        address: `http://127.0.0.1:PORT`.
        audit: its audit lines.
        login: its login.
    """

    address: str
    login: Login
    audit: list[dict[str, Any]] = field(default_factory=list)

    def client(self, **headers: str) -> httpx.Client:
        """A browser's HTTP, with its cookies; it follows no redirect."""
        return httpx.Client(base_url=self.address, headers=headers, trust_env=False, timeout=30)

    @contextmanager
    def logged_in(self, name: str = "ada", password: str = PASSWORD) -> Iterator[httpx.Client]:
        """A browser that somebody logged in with."""
        with self.client(Origin=self.address) as client:
            answer = sign_in(client, name, password)
            assert answer.status_code == 303, answer.text
            yield client

    def last(self, event: str) -> dict[str, Any]:
        """The last audit line of an event."""
        return next(line for line in reversed(self.audit) if line["audit"] == event)


def sign_in(
    client: httpx.Client, name: str, password: str, target: str | None = None, **headers: str
) -> httpx.Response:
    """Open the login page and send its form."""
    page = client.get("/login", params={"next": target} if target is not None else {})
    sent = {"token": form_field(page, "token"), "next": form_field(page, "next"), "name": name, "password": password}
    origin = str(client.base_url).rstrip("/")
    return client.post("/login", data=sent, headers={"Origin": origin, **headers})


def form_field(page: httpx.Response, name: str) -> str:
    """What a hidden field of a page's form holds."""
    marked = f'name="{name}" value="'
    assert marked in page.text, page.text
    return page.text.partition(marked)[2].partition('"')[0].replace("&amp;", "&")


def access_file(**entries: UserEntry | TokenEntry) -> AccessFile:
    """An access file with these entries; `ada` is an administrator, unless she is given."""
    users = {name: entry for name, entry in entries.items() if isinstance(entry, UserEntry)}
    tokens = {name: entry for name, entry in entries.items() if isinstance(entry, TokenEntry)}
    return AccessFile(users={"ada": user("administrator"), **users}, tokens=tokens)


def user(role: str = "viewer", tenants: tuple[str, ...] | None = None, **more: Any) -> UserEntry:
    """A person whose password is PASSWORD."""
    return UserEntry.model_validate({"password_hash": _HASH, "role": role, "tenants": tenants, **more})


def token(role: str = "viewer", ends_in: timedelta = timedelta(days=1), **more: Any) -> tuple[str, TokenEntry]:
    """A program's token, and its entry."""
    text = new_token()
    expires = utc_now() + ends_in
    return text, TokenEntry.model_validate({"sha256": digest_of(text), "expires": expires, "role": role, **more})


def settings_in(folder: Path, access: AccessFile | None = None, **more: str) -> dict[str, str]:
    """What a webserver is given that keeps everything in a folder."""
    environ = {
        "APOLLO_SESSION_SECRET": SECRET,
        "DAGSTER_HOME": str(folder / "home"),
        "APOLLO_ACCESS_PATH": str(folder / "access.yaml"),
    }
    if access is not None:
        (folder / "access.yaml").write_text(render(access))
    return {**environ, **more}


def rules(**login: Mapping[str, object]) -> Fork:
    """A fork with login rules."""
    return parse_fork({"name": "acme-data", "login": dict(login)})


def small_app(login: Login) -> Starlette:
    """The application."""
    return Starlette(
        routes=[
            Route("/livez", lambda _: JSONResponse({"alive": True})),
            Route("/whoami", _whoami, methods=["GET", "POST", "PUT", "DELETE"]),
            Route("/graphql", _whoami, methods=["GET", "POST"]),
            WebSocketRoute("/graphql", _numbers),
            Route("/download", lambda _: PlainTextResponse("x" * 500_000)),
            Route("/{path:path}", _page),
        ],
        middleware=[login.middleware(), Middleware(_Untouched)],
    )


class _Untouched:
    """Fails when a route is reached without anybody being known, liveness apart."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] != "/livez":
            assert scope.get("user") is not None, f"{scope['path']} was reached by a stranger"
        await self.app(scope, receive, send)


async def _whoami(request: Request) -> Response:
    user = request.scope["user"]
    return JSONResponse(
        {
            "name": user.name,
            "role": user.role,
            "tenants": sorted(user.tenants) if user.tenants is not None else None,
            "confined": user.confined,
            "client": request.client.host if request.client else None,
            "scheme": request.url.scheme,
        }
    )


async def _page(request: Request) -> Response:
    policy = "script-src 'nonce-abc'; style-src 'unsafe-inline' 'self'"
    text = "<!DOCTYPE html><html><body><div id=root></div></body></html>"
    return HTMLResponse(text, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})


async def _numbers(socket: WebSocket) -> None:
    await socket.accept(subprotocol="graphql-ws")
    telling = asyncio.create_task(_tell(socket))
    try:
        while True:
            await socket.send_json({"echo": await socket.receive_text()})
    except WebSocketDisconnect:
        pass
    finally:
        telling.cancel()


async def _tell(socket: WebSocket) -> None:
    number = 0
    while True:
        await socket.send_json({"number": number, "name": socket.scope["user"].name})
        number += 1
        await asyncio.sleep(0.05)


@contextmanager
def running(
    environ: Mapping[str, str],
    folder: Path,
    fork: Fork | None = None,
    port: int | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[Guarded]:
    """Serve the small application behind the login that the settings describe."""
    lines: list[dict[str, Any]] = []
    audit = AuditLog(lambda line: lines.append(json.loads(line)))
    login = Login.configured(environ, fork or Fork(), folder, audit=audit, clock=clock)
    with served(small_app(login), port) as address:
        yield Guarded(address, login, lines)


@contextmanager
def served(app: Starlette, port: int | None = None) -> Iterator[str]:
    """Serve an application; its address."""
    port = port or free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, "127.0.0.1", port, log_level="warning", proxy_headers=False, lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "uvicorn did not start"
        assert time.monotonic() < end, "uvicorn did not start in time"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
