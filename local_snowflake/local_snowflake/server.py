"""The HTTP side: login, renewal of tokens, queries, cancelling.

Every answer is HTTP 200, for unknown routes and faults of our own too, because the connector retries 400, 403, 405,
408, 429 and 5xx, some of them for ever. The shapes are those that the connector (4.8) reads and sends.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local_snowflake.engine import Engine
from local_snowflake.errors import LoginError, SqlError
from local_snowflake.login import authenticate
from local_snowflake.query_requests import QueryRequests
from local_snowflake.session import Session
from local_snowflake.session_tokens import TokenPair, TokenStore, must_login_again

log = logging.getLogger("local_snowflake")

Endpoint = Callable[[Request], Awaitable[JSONResponse]]

_IN_PROGRESS = "333333"
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
_CLIENT_PARAMETERS = {
    "AUTOCOMMIT": True,
    "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY": 3600,
    "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": 0,  # never upload bound arrays to a stage
    "CLIENT_TELEMETRY_ENABLED": False,
    "CLIENT_PREFETCH_THREADS": 4,
    "TIMEZONE": "Etc/UTC",
}


class Server:
    """The ASGI application of an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tokens = TokenStore(engine.settings)
        self._logins = threading.Lock()
        self.queries = QueryRequests()
        routes: list[tuple[str, Endpoint]] = [
            ("/session/v1/login-request", self.login),
            ("/session/token-request", self.renew),
            ("/session/heartbeat", self.heartbeat),
            ("/session", self.close_session),
            ("/queries/v1/query-request", self.query),
            ("/queries/v1/abort-request", self.abort),
            ("/queries/{request_id}/result", self.result),
            ("/monitoring/queries/{query_id}", self.monitoring),
            ("/telemetry/{rest:path}", self.telemetry),
            ("/{rest:path}", self.unknown),
        ]
        self.app = Starlette(routes=[Route(path, _always_answering(end), methods=_METHODS) for path, end in routes])

    def close(self) -> None:
        self.engine.close()
        self.queries.close()

    # sessions

    async def login(self, request: Request) -> JSONResponse:
        data = (await _body(request)).get("data") or {}
        session, pair = await asyncio.to_thread(self._open_session, data, dict(request.query_params))
        settings = self.engine.settings
        return _success(
            {
                "token": pair.session,
                "masterToken": pair.master,
                "validityInSeconds": int(settings.session_token_seconds),
                "masterValidityInSeconds": int(settings.master_token_seconds),
                "displayUserName": session.user,
                "serverVersion": "10.0.0",
                "firstLogin": False,
                "remMeToken": None,
                "remMeValidityInSeconds": 0,
                "healthCheckInterval": 45,
                "sessionId": int(session.id),
                "parameters": [{"name": name, "value": value} for name, value in _CLIENT_PARAMETERS.items()],
                "sessionInfo": {
                    "databaseName": session.database,
                    "schemaName": session.schema,
                    "warehouseName": session.warehouse,
                    "roleName": session.role,
                },
                "idToken": None,
                "mfaToken": None,
            }
        )

    def _open_session(self, data: dict[str, Any], query: dict[str, str]) -> tuple[Session, TokenPair]:
        user, role = authenticate(self.engine.account, data, query.get("roleName"))
        wanted = {key: query.get(f"{key}Name") or query.get(key) for key in ("database", "schema", "warehouse")}
        with self._logins:  # a session that has no token yet must not look abandoned to another login
            for session_id in self.tokens.abandoned(list(self.engine.sessions)):
                self._forget(self.engine.sessions.get(session_id))
            session = self.engine.open_session(user, role, wanted)
            pair = self.tokens.issue(session.id)
        try:
            for name, value in (data.get("SESSION_PARAMETERS") or {}).items():
                session.set_parameter(name.upper(), str(value))
        except SqlError:
            self._forget(session)
            raise
        return session, pair

    def _forget(self, session: Session | None) -> None:
        if session:
            self.tokens.forget(session.id)
            self.queries.forget(session.id)
            session.close()

    def _session(self, request: Request) -> Session:
        """The session of a request's token.

        Raises:
            LoginError: 390104 or 390112.
        """
        session = self.engine.sessions.get(self.tokens.session_of(_token(request)))
        if session is None:
            raise must_login_again()
        return session

    async def renew(self, request: Request) -> JSONResponse:
        session_id = self.tokens.session_of_master(_token(request))
        if session_id not in self.engine.sessions:
            raise must_login_again()
        pair, settings = self.tokens.issue(session_id), self.engine.settings
        return _success(
            {
                "sessionToken": pair.session,
                "validityInSecondsST": int(settings.session_token_seconds),
                "masterToken": pair.master,
                "validityInSecondsMT": int(settings.master_token_seconds),
                "masterValidityInSeconds": int(settings.master_token_seconds),
                "sessionId": int(session_id),
            }
        )

    async def heartbeat(self, request: Request) -> JSONResponse:
        self._session(request)
        return _success(None)

    async def close_session(self, request: Request) -> JSONResponse:
        session = self._session(request)
        if request.query_params.get("delete"):
            await asyncio.to_thread(self._forget, session)
        return _success(None)

    # queries

    async def query(self, request: Request) -> JSONResponse:
        session = self._session(request)
        request_id = self.queries.submit(session, request.query_params.get("requestId"), await _body(request))
        return await self._wait(session, request_id)

    async def result(self, request: Request) -> JSONResponse:
        return await self._wait(self._session(request), request.path_params["request_id"])

    async def _wait(self, session: Session, request_id: str) -> JSONResponse:
        """The answer of a request, or after a while the word that it is still running and where to ask again."""
        future = self.queries.find(session, request_id)
        if future is None:
            raise SqlError(612, "02000", "Result for query not found")
        try:
            waiting = asyncio.shield(asyncio.wrap_future(future))
            data = await asyncio.wait_for(waiting, self.engine.settings.synchronous_wait_seconds)
        except TimeoutError:
            progress = {
                "getResultUrl": f"/queries/{request_id}/result",
                "queryId": request_id,
                "queryAbortsAfterSecs": 300,
                "progressDesc": None,
            }
            return _success(progress, code=_IN_PROGRESS)
        return _success(data)

    async def abort(self, request: Request) -> JSONResponse:
        session = self._session(request)
        future = self.queries.find(session, str((await _body(request)).get("requestId")))
        if future is not None and not future.done():
            session.cancel()
        return _success(None)

    async def monitoring(self, request: Request) -> JSONResponse:
        self._session(request)
        known = self.engine.results.get(request.path_params["query_id"]) is not None
        return _success({"queries": [{"status": "SUCCESS"}] if known else []})

    async def telemetry(self, _: Request) -> JSONResponse:
        return _success(None)

    async def unknown(self, request: Request) -> JSONResponse:
        return _failure("000002", f"Unsupported request {request.method} {request.url.path} (local Snowflake).", None)


def _always_answering(endpoint: Endpoint) -> Endpoint:
    """Any exception of an endpoint as an answer that the connector stops at."""

    async def answering(request: Request) -> JSONResponse:
        try:
            return await endpoint(request)
        except LoginError as error:
            return _failure(error.code, error.message, {"authnMethod": "KEYPAIR"})
        except SqlError as error:
            log.info("error %06d %s", error.errno, error.message[:300])
            return _sql_failure(error)
        except Exception as error:
            log.exception("unforeseen")
            text = f"SQL execution internal error:\nlocal Snowflake: {type(error).__name__}: {error}"
            return _sql_failure(SqlError(603, "XX000", text))

    return answering


def _success(data: dict[str, Any] | None, code: str | None = None) -> JSONResponse:
    return JSONResponse({"data": data, "code": code, "message": None, "success": True})


def _failure(code: str, message: str, data: dict[str, Any] | None) -> JSONResponse:
    return JSONResponse({"data": data, "code": code, "message": message, "success": False, "headers": None})


def _sql_failure(error: SqlError) -> JSONResponse:
    code = f"{error.errno:06d}"
    data = {
        "internalError": False,
        "errorCode": code,
        "age": 0,
        "sqlState": error.sqlstate,
        "queryId": str(uuid.uuid4()),
        "line": -1,
        "pos": -1,
        "type": "COMPILATION",
    }
    return _failure(code, error.message, data)


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        raw = gzip.decompress(raw)
    return json.loads(raw) if raw.strip() else {}


def _token(request: Request) -> str:
    """The token of `Authorization: Snowflake Token="..."`."""
    _, _, quoted_token = request.headers.get("Authorization", "").partition('"')
    return quoted_token.rstrip('"')
