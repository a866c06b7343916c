"""Who reaches a route at all: users, or strangers where it is public; administrators alone where nobody reviewed it.

ASGI, before Dagster sees the connection, for HTTP and WebSockets alike. What a user is shown by a route that he reaches
is decided further down.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from dagster_apollo.access.scoping.reviewed import ROUTES
from dagster_apollo.access.scoping.scoped_context import is_unrestricted
from dagster_apollo.access.users import User


def reviewed_route(route: BaseRoute) -> BaseRoute:
    """A route of Dagster's, refused to all but administrators where nobody reviewed it."""
    if isinstance(route, Mount) and not (route.name or "").endswith("_static"):
        # Below a path prefix, Dagster's routes stand inside a mount.
        return Mount(route.path, routes=[reviewed_route(below) for below in route.routes], name=route.name)
    path = getattr(route, "path", "")
    if not isinstance(route, Mount) and path not in ROUTES and getattr(route, "name", "") != "root_static":
        route.app = AdministratorsOnly(route.app)  # type: ignore[attr-defined]
    return route


class RequireUser:
    """Middleware that answers a stranger 401, but on public routes.

    Args:
        app: what is behind.
        public: the routes that strangers reach.
    """

    def __init__(self, app: ASGIApp, public: Sequence[BaseRoute]) -> None:
        self._app = app
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or isinstance(scope.get("user"), User) or self._is_public(scope):
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, 401)

    def _is_public(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self._public)


class AdministratorsOnly:
    """A route that others are refused.

    Args:
        app: the route's own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        if isinstance(user, User) and is_unrestricted(user):
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, 403)


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int) -> None:
    told = {401: "log in", 403: "not permitted"}[status]
    if scope["type"] == "http":
        await JSONResponse({"error": told}, status)(scope, receive, send)
        return
    await receive()  # what is said first on a WebSocket
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        # RFC 6455: a policy was violated.
        await send({"type": "websocket.close", "code": 1008})
