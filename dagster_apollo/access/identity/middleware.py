"""What stands before every route: nobody is let through who is not known, and nothing that another site's page asks.

Two forms: `LoginMiddleware`, where people log in, and `LoopbackMiddleware`, where there is no login because only this
machine can ask. Both put the user into `scope["user"]`. Who somebody is, is `identify.py`; the login's own routes are
`sign_in.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from dagster_apollo.access.audit import AuditLog
from dagster_apollo.access.identity.ended_sessions import StoreUnavailableError
from dagster_apollo.access.identity.headers import add_security, cookie_name, set_cookie
from dagster_apollo.access.identity.identify import SESSION, Identifier, Known, TokenRefusedError
from dagster_apollo.access.identity.open_sockets import OpenSockets
from dagster_apollo.access.identity.origin import SAFE_METHODS, is_foreign, is_loopback_host
from dagster_apollo.access.identity.pages import Pages
from dagster_apollo.access.identity.sign_in import SignIn, login_url
from dagster_apollo.access.users import User

LIVENESS = "/livez"
LOCAL_USER = User("local", "administrator")
# Dagster's page is small; what is larger is a download, and is not touched.
_LARGEST_PAGE_BYTES = 200_000


@dataclass(frozen=True)
class Surroundings:
    """What is known of the way that requests take.

    Attributes:
        public_url: the address that people type, if it is known.
        trusted_proxies: addresses and networks whose `X-Forwarded-*` count.
        client_header: a header in which an outer proxy gives the client's address (Cloudflare, before Render).
    """

    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    client_header: str | None = None


class LoginMiddleware:
    """Lets through who is known; the rest is answered here."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        sign_in: SignIn,
        identifier: Identifier,
        sockets: OpenSockets,
        audit: AuditLog,
        pages: Pages,
        surroundings: Surroundings,
    ) -> None:
        self._app = app
        self._router = Router(routes=sign_in.routes())
        self._ours = {route.path for route in sign_in.routes()}
        self._identifier, self._sockets, self._audit, self._pages = identifier, sockets, audit, pages
        self._at = surroundings
        self._entry: ASGIApp = ProxyHeadersMiddleware(  # type: ignore[assignment]
            self._guard,  # type: ignore[arg-type]
            trusted_hosts=list(surroundings.trusted_proxies),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] in ("http", "websocket"):
            await self._entry(_with_client_of(scope, self._at.client_header), receive, send)

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        public = self._at.public_url
        is_https = public.startswith("https://") if public else scope["scheme"] in ("https", "wss")
        scope = {**scope, "apollo.https": is_https}
        scope.pop("user", None)
        if scope["type"] == "http":
            send = _with_security(send, is_https=is_https)
            if scope["path"] == LIVENESS and scope["method"] in ("GET", "HEAD"):
                await self._app(scope, receive, send)
                return
            if scope["path"] in self._ours:
                if scope["method"] not in SAFE_METHODS and self._asks_from_elsewhere(scope, strict=True):
                    await self._refuse(scope, receive, send, _forbidden(scope))
                else:
                    # Without Dagster's application in it, the router answers a wrong method itself: nothing that
                    # would catch its exception stands around it.
                    await self._router({key: scope[key] for key in scope if key != "app"}, receive, send)
                return
        try:
            known = await self._identifier.known(HTTPConnection(scope), cookie_name(SESSION, is_https=is_https))
        except TokenRefusedError as error:
            self._audit.record("token", "refused", reason=str(error), path=scope["path"], address=_address(scope))
            await self._refuse(scope, receive, send, _no_token())
            return
        except StoreUnavailableError:
            text = "Dagster's database does not answer, so nobody can say who is logged in. Try again soon.\n"
            await self._refuse(scope, receive, send, PlainTextResponse(text, 503, {"Retry-After": "5"}))
            return
        if known is None:
            await self._refuse(scope, receive, send, _stranger(scope))
        elif known.session and _changes(scope) and self._asks_from_elsewhere(scope, strict=True):
            self._audit.record(
                "request", "refused", known.user, reason="asked by another site's page", path=scope["path"],
                address=_address(scope),
            )  # fmt: skip
            await self._refuse(scope, receive, send, _forbidden(scope))
        else:
            await self._serve({**scope, "user": known.user}, receive, send, known)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, known: Known) -> None:
        if scope["type"] == "websocket":
            await self._sockets.serve(
                self._app, (scope, receive, send), known.owner, lambda: self._identifier.is_still(known)
            )
            return
        if known.session is None:
            await self._app(scope, receive, send)
            return
        sessions = self._identifier.sessions
        cookie = None
        if renewed := sessions.renewed(known.session):
            carrier = Response()
            seconds = int(renewed.ends - sessions.clock())
            set_cookie(carrier, SESSION, sessions.cookie(renewed), seconds, is_https=scope["apollo.https"])
            cookie = carrier.headers["set-cookie"]
        strip = (
            self._pages.strip(known.user, sessions.form_token("logout", known.session.id)) if _is_page(scope) else b""
        )
        await self._app(scope, receive, _Page(send, strip, cookie).send)

    def _asks_from_elsewhere(self, scope: Scope, *, strict: bool) -> bool:
        foreign = is_foreign(Headers(scope=scope), scope["scheme"], self._at.public_url)
        return strict if foreign is None else foreign

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, answer: Response) -> None:
        if scope["type"] == "websocket":
            await receive()  # its connect
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            await answer(scope, receive, send)


class LoopbackMiddleware:
    """Lets this machine through as its administrator, and no page that is not ours.

    A page on the internet can ask `http://127.0.0.1:3000` too, or have its own name resolve to it: `Host`, `Origin` and
    `Sec-Fetch-Site` tell. Programs on this machine say none of these but `Host`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_ours = is_loopback_host(headers.get("host", ""))
        if is_ours and not (_changes(scope) and is_foreign(headers, scope["scheme"], None)):
            await self._app({**scope, "user": LOCAL_USER}, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            text = "There is no login here, so only this machine's own pages and programs are answered.\n"
            await PlainTextResponse(text, 403)(scope, receive, send)


class _Page:
    """Passes an answer on, with a renewed cookie, and with the strip laid over Dagster's page."""

    def __init__(self, send: Send, strip: bytes, cookie: str | None) -> None:
        self._send, self._strip, self._cookie = send, strip, cookie
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if self._cookie:
                headers.append("set-cookie", self._cookie)
            if self._strip and _is_dagsters_page(message["status"], headers):
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body") and len(self._body) <= _LARGEST_PAGE_BYTES:
                return
            before, found, after = self._body.rpartition(b"</body>")
            body = before + self._strip + found + after if found and not message.get("more_body") else self._body
            start, self._start = self._start, None
            if not message.get("more_body"):
                MutableHeaders(scope=start)["content-length"] = str(len(body))
            await self._send(start)
            message = {**message, "body": body}
        await self._send(message)


def _is_dagsters_page(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer is the page that all of Dagster's interface lives in: it alone has a policy with a nonce."""
    return (
        status == 200
        and headers.get("content-type", "").startswith("text/html")
        and "nonce-" in headers.get("content-security-policy", "")
        and "content-encoding" not in headers
    )


def _is_page(scope: Scope) -> bool:
    return scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "")


def _changes(scope: Scope) -> bool:
    """Whether a request may change something, or opens a way to: a query by GET may be a mutation."""
    if scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS:
        return True
    return "query" in parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True) and str(
        scope["path"]
    ).endswith("/graphql")


def _with_security(send: Send, *, is_https: bool) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            add_security(MutableHeaders(scope=message), is_https=is_https)
        await send(message)

    return send_with_headers


def _with_client_of(scope: Scope, header: str | None) -> Scope:
    """The scope as if an outer proxy's own header were `X-Forwarded-For`: whether to trust it is decided after that."""
    address = Headers(scope=scope).get(header) if header else None
    if not address:
        return scope
    kept = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-for"]
    return {**scope, "headers": [*kept, (b"x-forwarded-for", address.encode("latin-1"))]}


def _stranger(scope: Scope) -> Response:
    if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
        headers = Headers(scope=scope)
        mode = headers.get("sec-fetch-mode")
        if mode == "navigate" or (mode is None and "text/html" in headers.get("accept", "")):
            query = scope.get("query_string", b"").decode("latin-1")
            return RedirectResponse(login_url(scope["path"] + (f"?{query}" if query else "")), 303)
    return JSONResponse({"error": "Sign in at /login, or send a token: Authorization: Bearer …"}, 401, _CHALLENGE)


def _no_token() -> Response:
    return JSONResponse({"error": "The token is not known, or has expired."}, 401, _CHALLENGE)


def _forbidden(scope: Scope) -> Response:
    text = "This was asked by a page of another site, or by a program that sent a cookie: use a token.\n"
    return PlainTextResponse(text, 403)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="dagster"', "Cache-Control": "no-store"}
