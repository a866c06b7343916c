"""Dagster's webserver for users who are told apart: every route wants a user, every root field an audience.

What a user is shown of his tenants is decided below, in context and storages; here stands what goes past them: routes
that read files, the ways in which GraphQL may be asked, errors that tell too much, and the audit of what was changed.
Login pages, liveness and status are given from outside, and so is what ends a WebSocket with its session.
"""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeAlias

from graphql import GraphQLError, GraphQLField, GraphQLObjectType
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from dagster_apollo.access.scoping.dagster_internals import DagsterWebserver
from dagster_apollo.access.scoping.mutation_targets import Outcome, Targets, add_made, outcome_of, targets_of
from dagster_apollo.access.scoping.query_limits import BodyLimit, excess_of
from dagster_apollo.access.scoping.reviewed import Audience, audience_of
from dagster_apollo.access.scoping.route_guards import RequireUser, reviewed_route
from dagster_apollo.access.scoping.scope import Refused
from dagster_apollo.access.scoping.scoped_context import (
    ScopedProcessContext,
    ScopedRequestContext,
    is_unrestricted,
    user_of,
)
from dagster_apollo.access.users import User

# Given `name`, `outcome` (ok, refused, failed), `user` (a User), and where there are any `tenants`, `runs`,
# `backfills` and `assets`, lists of text.
Audit: TypeAlias = Callable[[dict[str, Any]], None]

# Whose errors are being told: the hook that tells them is given the errors alone.
_asking: ContextVar[User | None] = ContextVar("asking", default=None)


class ScopedWebserver(DagsterWebserver):
    """The webserver of `apollo dev` and of a deployed stack.

    Args:
        process_context: the workspace.
        public_routes: served to strangers too: the login, liveness.
        routes: served before Dagster's own, to users alone: the status.
        middleware: outermost first, around everything; the login is among it and puts a `User` into `scope["user"]`.
        audit: is told of every mutation and every reported asset event.
        app_path_prefix: the path that Dagster is served below, without a slash at its end.
        live_data_poll_rate: how often the UI asks for what is live, in milliseconds.
    """

    def __init__(
        self,
        process_context: ScopedProcessContext,
        *,
        public_routes: Sequence[BaseRoute] = (),
        routes: Sequence[BaseRoute] = (),
        middleware: Sequence[Middleware] = (),
        audit: Audit | None = None,
        app_path_prefix: str = "",
        live_data_poll_rate: int | None = None,
    ) -> None:
        self._public_routes = tuple(public_routes)
        self._routes = tuple(routes)
        self._outer_middleware = tuple(middleware)
        self._audit = audit or (lambda event: None)
        super().__init__(process_context, app_path_prefix, live_data_poll_rate)

    # ---- routes

    def build_middleware(self) -> list[Middleware]:
        return [
            Middleware(BodyLimit),
            *self._outer_middleware,
            Middleware(RequireUser, public=self._public_routes),
            *super().build_middleware(),
        ]

    def build_routes(self) -> list[BaseRoute]:
        """Those from outside first: Dagster's last one answers every path."""
        return [*self._public_routes, *self._routes, *map(reviewed_route, super().build_routes())]

    def create_asgi_app(self, **kwargs: Any) -> Starlette:
        async def refused(request: Request, error: Exception) -> Response:
            return JSONResponse({"error": str(error)}, 403)

        handlers = {Refused: refused, **kwargs.pop("exception_handlers", {})}
        return super().create_asgi_app(exception_handlers=handlers, **kwargs)

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """GraphQL by POST of JSON alone: a page of another site can send everything else without being asked."""
        is_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if not is_page:
            if request.method != "POST":
                return JSONResponse({"error": "GraphQL is asked by POST"}, 405, {"allow": "POST"})
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return JSONResponse({"error": "GraphQL is asked in application/json"}, 415)
        answer: Response = await super().graphql_http_endpoint(request)
        return answer

    async def download_debug_file_endpoint(self, request: Request) -> Response:
        with self.request_context(request) as context:
            if context.instance.get_run_by_id(request.path_params["run_id"]) is None:
                raise HTTPException(404)
        answer: Response = await super().download_debug_file_endpoint(request)
        return answer

    async def download_captured_logs_endpoint(self, request: Request) -> Response:
        """What may not be read and what is not there are answered alike."""
        log_key = request.path_params["path"].split("/")[:-1]
        with self.request_context(request) as context:
            if context.scope is not None and not context.scope.sees_log_key(log_key):
                raise HTTPException(404)
        try:
            answer: Response = await super().download_captured_logs_endpoint(request)
        except (Refused, ValueError):  # Dagster says ValueError of a path outside of its folder
            raise HTTPException(404) from None
        return answer

    async def download_notebook(self, request: Request) -> Response:
        """For administrators: the path may be any notebook's on the code location's disk."""
        if not is_unrestricted(user_of(request)):
            raise Refused("notebooks")
        answer: Response = await super().download_notebook(request)
        return answer

    async def report_asset_materialization_endpoint(self, request: Request) -> JSONResponse:
        return await self._report(
            request, "report_asset_materialization", super().report_asset_materialization_endpoint
        )

    async def report_asset_check_endpoint(self, request: Request) -> JSONResponse:
        return await self._report(request, "report_asset_check", super().report_asset_check_endpoint)

    async def report_asset_observation_endpoint(self, request: Request) -> JSONResponse:
        return await self._report(request, "report_asset_observation", super().report_asset_observation_endpoint)

    async def _report(self, request: Request, name: str, endpoint: Callable[..., Any]) -> JSONResponse:
        asset = await _reported_asset(request)
        targets = Targets(tenants={asset.partition("/")[0]}, assets={asset}) if asset else Targets()
        outcome: Outcome = "failed"
        try:
            answer: JSONResponse = await endpoint(request)
            outcome = {2: "ok", 4: "refused"}.get(answer.status_code // 100, "failed")  # type: ignore[assignment]
            return answer
        except Refused:
            outcome = "refused"
            raise
        finally:
            self._write_audit(name, outcome, user_of(request), targets)

    # ---- GraphQL

    def build_graphql_schema(self) -> Any:
        schema = super().build_graphql_schema()
        types = schema.graphql_schema
        for root in (types.query_type, types.mutation_type, types.subscription_type):
            for name, field in root.fields.items():
                self._gate(root, name, field)
        return schema

    def _gate(self, root: GraphQLObjectType, name: str, field: GraphQLField) -> None:
        """Put the audience's question, and a mutation's audit, before a root field.

        Not as middleware of the execution: that runs for every field below too, and not for subscriptions.
        """
        audience = audience_of(root.name, name)
        attribute = "subscribe" if root.name == "Subscription" else "resolve"
        resolve = getattr(field, attribute) or (lambda source, info, **_: getattr(source, name, None))

        def ask(source: Any, info: Any, **arguments: Any) -> Any:
            _require_audience(info.context.user, audience, name)
            return resolve(source, info, **arguments)

        def change(source: Any, info: Any, **arguments: Any) -> Any:
            return self._change(info.context, name, arguments, lambda: ask(source, info, **arguments))

        setattr(field, attribute, change if root.name == "Mutation" else ask)

    def _change(
        self, context: ScopedRequestContext, name: str, arguments: Mapping[str, Any], act: Callable[[], Any]
    ) -> Any:
        # Before it is done: afterwards a run may be gone, and with it whose it was.
        targets = targets_of(arguments, context)

        def failed(error: Exception) -> None:
            outcome: Outcome = "refused" if isinstance(error, Refused) else "failed"
            self._write_audit(name, outcome, context.user, targets)

        def answered(result: Any) -> Any:
            add_made(targets, result)
            self._write_audit(name, outcome_of(result), context.user, targets)
            return result

        async def awaited(pending: Any) -> Any:
            try:
                result = await pending
            except Exception as error:
                failed(error)
                raise
            return answered(result)

        try:
            result = act()
        except Exception as error:
            failed(error)
            raise
        return awaited(result) if inspect.isawaitable(result) else answered(result)

    def _write_audit(self, name: str, outcome: Outcome, user: User, targets: Targets) -> None:
        self._audit({"name": name, "outcome": outcome, "user": user, **targets.as_details()})

    async def gen_graphql_response(
        self, request_context: Any, query: str, variables: dict[str, Any] | None, operation_name: str | None
    ) -> JSONResponse:
        if excess := excess_of(query):
            return JSONResponse({"data": None, "errors": [excess.formatted]}, 400)
        token = _asking.set(request_context.user)
        try:
            answer: JSONResponse = await super().gen_graphql_response(request_context, query, variables, operation_name)
            return answer
        finally:
            _asking.reset(token)

    async def execute_graphql_subscription(  # type: ignore[override]  # all is given by name
        self, *, query: str, **asked: Any
    ) -> Any:
        """What a WebSocket starts: a query too, since Dagster's endpoint does not tell them apart."""
        if excess := excess_of(query):
            return None, excess.formatted
        return await super().execute_graphql_subscription(query=query, **asked)

    def handle_graphql_errors(self, errors: Sequence[GraphQLError]) -> list[Any]:
        """Without the stack for who is not shown everything: it quotes what code had in its hands."""
        told: list[Any] = super().handle_graphql_errors(errors)
        asking = _asking.get()
        if asking is None or asking.confined:
            for error in told:
                error.get("extensions", {}).pop("errorInfo", None)
        return told

    def _determine_status_code(
        self, resolver_errors: list[GraphQLError] | None, captured_errors: list[Exception]
    ) -> int:
        """A refusal is not a fault of the server's."""
        causes = [getattr(error, "original_error", None) for error in resolver_errors or ()]
        if causes and not captured_errors and all(isinstance(cause, Refused) for cause in causes):
            return 403
        code: int = super()._determine_status_code(resolver_errors, captured_errors)
        return code


def _require_audience(user: User, audience: Audience, name: str) -> None:
    if is_unrestricted(user) or audience is Audience.EVERYBODY:
        return
    if audience is Audience.ADMINISTRATORS or user.role == "viewer":
        raise Refused(name)


async def _reported_asset(request: Request) -> str:
    """The asset that an event is reported of, as `one/two`: named in the path, the body or the query."""
    if named := request.path_params.get("asset_key"):
        return str(named)
    body: Any = None
    with contextlib.suppress(ValueError):
        body = json.loads(await request.body() or b"null")
    key = body.get("asset_key") if isinstance(body, dict) else None
    if isinstance(key, list):
        return "/".join(map(str, key))
    return request.query_params.get("asset_key", "")


__all__ = ["Audit", "ScopedProcessContext", "ScopedWebserver"]
