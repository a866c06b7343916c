"""The routes of the login: its page, the way to the identity provider and back, the way out, and the stylesheet.

All that a stranger may ask for, so everything here judges what it is sent. Who somebody is afterwards is
`identify.py`; what is checked before any route is reached is `middleware.py`.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import parse_qs, quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from dagster_apollo.access.audit import AuditLog
from dagster_apollo.access.identity import passwords
from dagster_apollo.access.identity.access_source import AccessSource
from dagster_apollo.access.identity.ended_sessions import StoreUnavailableError
from dagster_apollo.access.identity.headers import PAGE_POLICY, cookie_name, drop_cookie, set_cookie
from dagster_apollo.access.identity.identify import BROWSER, FLOW, FORM, SESSION, Identifier
from dagster_apollo.access.identity.oidc import Provider, ProviderError
from dagster_apollo.access.identity.open_sockets import OpenSockets
from dagster_apollo.access.identity.origin import local_target
from dagster_apollo.access.identity.pages import STYLESHEET, Pages
from dagster_apollo.access.identity.rules import Identity, groups_that_matter
from dagster_apollo.access.identity.sessions import BROWSER_SECONDS, FLOW_SECONDS, FORM_SECONDS, Session, fingerprint
from dagster_apollo.access.identity.throttle import Allowance, Key, Throttle
from dagster_apollo.fork import LoginRules

LOGIN, LOGOUT = "/login", "/logout"
PROVIDER_START, PROVIDER_CALLBACK = "/login/oidc", "/login/oidc/callback"
# A name alone, from browsers that were never let in by it; an address alone; a browser that was. One address cannot use
# up a name's allowance (it returns faster than one address may try), and nobody can use up that of a known browser.
ALLOWANCES = {
    "address": Allowance(at_once=10, then_every_seconds=30),
    "name": Allowance(at_once=30, then_every_seconds=10),
    "browser": Allowance(at_once=10, then_every_seconds=10),
}
_LONGEST_FORM_BYTES = 8192
# Each hash takes 19 MiB while it is computed.
_HASHES_AT_ONCE = 2


class SignIn:
    """Answers the login's routes.

    Args:
        rules: who may come in by the provider.
        provider: the identity provider, if there is one.
    """

    def __init__(
        self,
        access: AccessSource,
        rules: LoginRules,
        provider: Provider | None,
        identifier: Identifier,
        sockets: OpenSockets,
        audit: AuditLog,
        pages: Pages,
        throttle: Throttle,
    ) -> None:
        self._access, self._rules, self._provider, self._identifier = access, rules, provider, identifier
        self._sessions, self._ended = identifier.sessions, identifier.ended
        self._sockets, self._audit, self._pages, self._throttle = sockets, audit, pages, throttle
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE)

    def routes(self) -> list[Route]:
        """Everything that strangers may ask for."""
        routes = [
            Route(LOGIN, self._show, methods=["GET"]),
            Route(LOGIN, self._by_password, methods=["POST"]),
            Route(LOGOUT, self._ask_to_leave, methods=["GET"]),
            Route(LOGOUT, self._leave, methods=["POST"]),
            Route(STYLESHEET, self._stylesheet, methods=["GET"]),
        ]
        if self._provider:
            routes.append(Route(PROVIDER_START, self._to_provider, methods=["GET"]))
            routes.append(Route(PROVIDER_CALLBACK, self._from_provider, methods=["GET"]))
        return routes

    async def _show(self, request: Request) -> Response:
        target = local_target(request.query_params.get("next"))
        if await self._known_session(request):
            return RedirectResponse(target, 303)
        note = "You are signed out." if "out" in request.query_params else ""
        if note and self._provider:
            note += f" {self._provider.label[:1].upper()}{self._provider.label[1:]} may still know you."
        return self._login_page(request, target, note=note)

    async def _by_password(self, request: Request) -> Response:
        form = await _form(request)
        if form is None:
            return self._login_page(request, "/", error="That was too much.", status=413)
        target = local_target(form.get("next"))
        if not self._sessions.is_form_token(form.get("token", ""), "login", self._cookie(request, FORM)):
            error = "This page was open for too long, or the browser keeps no cookies. Try again."
            return self._login_page(request, target, form.get("name", ""), error, status=400)
        name, password = form.get("name", "").strip().casefold(), form.get("password", "")[: passwords.LONGEST + 1]
        entry = self._access.current().users.get(name)
        # What was typed as a name may be a password: a name that nobody has is not written down.
        audited: dict[str, Any] = {"name": name if entry else None, "address": _address(request), "how": "password"}
        browser = self._sessions.known_browser(self._cookie(request, BROWSER), name)
        keys = _keys(name, _address(request), browser)
        if wait := self._throttle.attempt(keys):
            self._audit.record("login", "refused", reason="too many attempts", **audited)
            error = f"Too many attempts that failed. Try again in {_spoken(wait)}."
            answer = self._login_page(request, target, form.get("name", ""), error, status=429)
            answer.headers["Retry-After"] = str(math.ceil(wait))
            return answer
        async with self._hashing:
            fits = await run_in_threadpool(passwords.matches, entry.password_hash if entry else None, password)
        if not fits or entry is None:
            self._audit.record("login", "refused", reason="wrong password" if entry else "unknown name", **audited)
            return self._login_page(
                request, target, form.get("name", ""), "The name or the password is not right.", status=401
            )
        self._throttle.forgive(keys)
        return await self._let_in(request, "password", Identity(name), target, fingerprint(entry.password_hash))

    async def _to_provider(self, request: Request) -> Response:
        assert self._provider is not None  # noqa: S101
        flow: dict[str, object] = {}
        try:
            answer = await self._provider.start(request, flow)
        except ProviderError as error:
            return self._refuse(request, error)
        kept = {"flow": flow, "next": local_target(request.query_params.get("next"))}
        set_cookie(answer, FLOW, self._sessions.flow_cookie(kept), FLOW_SECONDS, is_https=_is_https(request))
        return answer

    async def _from_provider(self, request: Request) -> Response:
        assert self._provider is not None  # noqa: S101
        kept = self._sessions.read_flow(self._cookie(request, FLOW))
        if kept is None:  # nobody began here, so there is nothing to audit either
            error = "That took too long, or was begun in another browser. Try again."
            return self._login_page(request, "/", error=error, status=400)
        try:
            identity = await self._provider.finish(request, kept["flow"])
        except ProviderError as error:
            return self._refuse(request, error)
        session = self._sessions.start("oidc", identity)
        if self._identifier.user_of_session(session) is None:
            self._audit.record(
                "login", "refused", reason="no rule lets them in", name=identity.name, address=_address(request),
                how="oidc",
            )  # fmt: skip
            who = f"{self._provider.label} says that you are {identity.name}, and no rule here lets you in."
            return self._login_page(request, "/", error=f"{who} Ask an administrator.", status=403)
        kept_groups = groups_that_matter(identity.groups, self._rules)
        known = Identity(identity.name, identity.email, identity.domain, kept_groups)
        return await self._let_in(request, "oidc", known, local_target(kept.get("next")))

    async def _ask_to_leave(self, request: Request) -> Response:
        session = await self._known_session(request)
        user = self._identifier.user_of_session(session) if session else None
        if session is None or user is None:
            return RedirectResponse(LOGIN, 303)
        return _page(self._pages.logout(user, self._sessions.form_token("logout", session.id)))

    async def _leave(self, request: Request) -> Response:
        is_https = _is_https(request)
        answer: Response = RedirectResponse(f"{LOGIN}?out", 303)
        session = self._sessions.read(self._cookie(request, SESSION))
        if session:
            form = await _form(request) or {}
            user = self._identifier.user_of_session(session)
            if not self._sessions.is_form_token(form.get("token", ""), "logout", session.id):
                if user is None:
                    return answer
                error = "This page was open for too long. Try again."
                return _page(self._pages.logout(user, self._sessions.form_token("logout", session.id), error), 403)
            was_ended = await self._end(session)
            self._audit.record(
                "logout", "ok" if was_ended else "failed", user, address=_address(request), how=session.how,
                reason=None if was_ended else "the database does not answer",
            )  # fmt: skip
            if not was_ended:
                error = "You are signed out of this browser, but the database does not answer: it may not hold."
                answer = self._login_page(request, "/", error=error, status=503)
        drop_cookie(answer, SESSION, is_https=is_https)
        # Dagster's page keeps what it was shown in the browser, for whoever comes next.
        answer.headers["Clear-Site-Data"] = '"storage"'
        return answer

    async def _stylesheet(self, _: Request) -> Response:
        return Response(
            self._pages.stylesheet,
            media_type="text/css",
            headers={"Cache-Control": "public, max-age=31536000, immutable"},
        )

    async def _let_in(
        self,
        request: Request,
        how: Literal["password", "oidc"],
        identity: Identity,
        target: str,
        key: str | None = None,
    ) -> Response:
        is_https = _is_https(request)
        before = self._sessions.read(self._cookie(request, SESSION))
        if before:
            await self._end(before)
        session = self._sessions.start(how, identity, key)
        answer = RedirectResponse(target, 303)
        seconds = int(session.ends - session.started)
        set_cookie(answer, SESSION, self._sessions.cookie(session), seconds, is_https=is_https)
        drop_cookie(answer, FLOW, is_https=is_https)
        browser = self._cookie(request, BROWSER)
        if not self._sessions.known_browser(browser, identity.name):
            set_cookie(
                answer, BROWSER, self._sessions.browser_cookie(identity.name), BROWSER_SECONDS, is_https=is_https
            )
            if browser:  # it was somebody else's: leave nothing of what they were shown
                answer.headers["Clear-Site-Data"] = '"storage"'
        user = self._identifier.user_of_session(session)
        self._audit.record("login", "ok", user, address=_address(request), how=how)
        return answer

    async def _end(self, session: Session) -> bool:
        try:
            await run_in_threadpool(self._ended.end, session.id, session.ends)
        except StoreUnavailableError:
            return False
        finally:
            self._sockets.close(session.id)
        return True

    async def _known_session(self, request: Request) -> Session | None:
        try:
            known = await self._identifier.known(
                _without_token(request), cookie_name(SESSION, is_https=_is_https(request))
            )
        except StoreUnavailableError:
            return None
        return known.session if known else None

    def _refuse(self, request: Request, error: ProviderError) -> Response:
        self._audit.record("login", "refused", reason=error.reason, address=_address(request), how="oidc")
        return self._login_page(request, "/", error=error.advice, status=error.status)

    def _login_page(
        self, request: Request, target: str, name: str = "", error: str = "", note: str = "", status: int = 200
    ) -> Response:
        mark = self._cookie(request, FORM)
        is_new = len(mark) != 43
        mark = secrets.token_urlsafe(32) if is_new else mark
        content = self._pages.login(
            token=self._sessions.form_token("login", mark),
            target=target,
            name=name[:128],
            error=error,
            note=note,
            has_passwords=bool(self._access.current().users),
        )
        answer = _page(content, status)
        if is_new:
            set_cookie(answer, FORM, mark, FORM_SECONDS, is_https=_is_https(request))
        return answer

    def _cookie(self, request: Request, purpose: str) -> str:
        return request.cookies.get(cookie_name(purpose, is_https=_is_https(request)), "")


def login_url(target: str) -> str:
    """The login page, which leads to a path of ours."""
    return f"{LOGIN}?next={quote(target, safe='/')}" if target != "/" else LOGIN


def _page(content: str, status: int = 200) -> Response:
    return HTMLResponse(
        content,
        status,
        headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store", "X-Frame-Options": "DENY"},
    )


def _is_https(request: Request) -> bool:
    return bool(request.scope["apollo.https"])


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _keys(name: str, address: str, browser: str | None) -> Sequence[Key]:
    if browser:
        return [("browser", browser)]
    # Who has one IPv6 address has all of its /64.
    place = ":".join(address.split(":")[:4]) if ":" in address else address
    return [("address", place), ("name", name[:128])]


def _spoken(seconds: float) -> str:
    whole = math.ceil(seconds)
    return f"{whole} seconds" if whole > 1 else "a second"


def _without_token(request: Request) -> Request:
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"authorization"]
    return Request({**request.scope, "headers": headers})


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of a form; None: it is longer than any of ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM_BYTES:
            return None
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except (UnicodeDecodeError, ValueError):
        return {}
    return {name: values[0] for name, values in fields.items()}
