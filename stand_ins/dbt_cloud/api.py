"""The HTTP side: paths, the token, parameters, envelopes and errors, as dbt Cloud has them.

An answer is `{"status": …, "data": …}`, a list's has `extra` with the pagination; paths are taken with and without
their last slash. What the queue does with a request stands in `run_queue.py`.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from stand_ins.dbt_cloud.conditions import Conditions
from stand_ins.dbt_cloud.records import (
    Job,
    Run,
    Status,
    account_answer,
    environment_answer,
    job_answer,
    project_answer,
    run_answer,
)
from stand_ins.dbt_cloud.run_queue import RunQueue

MOST_IN_A_LIST = 100
READY_PATH = "/_ready"
CONDITIONS_PATH = "/_conditions"
_ANSWERS = {
    400: "The request was invalid. Please double check the provided data and try again.",
    401: "Invalid token.",
    403: "You do not have permission to perform this action.",
    404: "The requested resource was not found. Please check that you have the proper permissions.",
    405: "Method not allowed.",
    500: "An unexpected error has occurred. If this persists please contact support.",
    503: "The service is temporarily unavailable. Please try again later.",
}
_ORDERS = ("id", "created_at", "finished_at")


class Refused(Exception):
    """A request that is answered by an error."""

    def __init__(self, status: int, data: object = None) -> None:
        super().__init__(status)
        self.status = status
        self.data = data


class Api:
    """The endpoints over one queue.

    Args:
        queue: jobs and runs.
        token: what a request must bring, as `Token …` or `Bearer …`.
    """

    def __init__(self, queue: RunQueue, token: str) -> None:
        self._queue = queue
        self._token = token

    def application(self) -> ASGIApp:
        """The ASGI application."""
        account = "/api/v2/accounts/{account_id:int}"
        jobs, runs = f"{account}/jobs", f"{account}/runs"
        account_3 = "/api/v3/accounts/{account_id:int}"
        project_3 = account_3 + "/projects/{project_id:int}"
        routes = [
            self._route("/api/v2/accounts", self._accounts),
            self._route(account, self._account),
            self._route(f"{account}/projects", self._projects),
            self._route(account + "/projects/{project_id:int}", self._project),
            self._route(f"{account}/environments", self._environments),
            self._route(account + "/environments/{environment_id:int}", self._environment),
            self._route(jobs, self._list_jobs, POST=self._create_job),
            self._route(jobs + "/{job_id:int}", self._get_job, POST=self._update_job, DELETE=self._delete_job),
            self._route(jobs + "/{job_id:int}/run", POST=self._trigger),
            self._route(jobs + "/{job_id:int}/artifacts/{path:path}", self._job_artifact),
            self._route(runs, self._list_runs),
            self._route(runs + "/{run_id:int}", self._get_run),
            self._route(runs + "/{run_id:int}/cancel", POST=self._cancel),
            self._route(runs + "/{run_id:int}/artifacts", self._list_artifacts),
            self._route(runs + "/{run_id:int}/artifacts/{path:path}", self._artifact),
            self._route(f"{account_3}/projects", self._projects),
            self._route(project_3, self._project),
            self._route(f"{project_3}/environments", self._environments),
            self._route(project_3 + "/environments/{environment_id:int}", self._environment),
            self._route(CONDITIONS_PATH, POST=self._set_conditions),
            Route(READY_PATH, lambda _: Response(status_code=204)),
            Route("/deploy/{account_id:int}/projects/{project_id:int}/runs/{run_id:int}", self._page, methods=["GET"]),
        ]
        application = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_allowed})
        return _WithoutLastSlash(application)

    def _route(self, path: str, get: _Endpoint | None = None, **others: _Endpoint) -> Route:
        endpoints = {**({"GET": get} if get else {}), **others}

        async def answer(request: Request) -> Response:
            return await self._answered(request, endpoints[request.method.replace("HEAD", "GET")])

        return Route(path, answer, methods=list(endpoints))

    async def _answered(self, request: Request, endpoint: _Endpoint) -> Response:
        conditions = self._queue.conditions
        asked_for = request.url.path
        concerned = asked_for != CONDITIONS_PATH and conditions.only in f"{request.method} {asked_for}"
        if concerned:
            await request.body()  # what has arrived is carried out, whether somebody still waits for the answer or not
            if not conditions.hide_answers:
                await asyncio.sleep(conditions.answer_seconds)
            if conditions.status:
                return _error(conditions.status)
            if conditions.page:
                return HTMLResponse("<!doctype html><title>Maintenance</title><p>We will be back soon.")
        try:
            self._require_token(request)
            self._require_known(request.path_params)
            answer = await endpoint(request)
        except Refused as refused:
            return _error(refused.status, refused.data)
        if concerned and conditions.hide_answers:
            await asyncio.sleep(conditions.answer_seconds)
        return answer

    def _require_token(self, request: Request) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme not in ("Token", "Bearer") or not hmac.compare_digest(given.encode(), self._token.encode()):
            raise Refused(401)

    def _require_known(self, numbers: Mapping[str, Any]) -> None:
        for name, wanted in vars(self._queue.numbers).items():
            if name in numbers and numbers[name] != wanted:
                raise Refused(404)

    async def _accounts(self, request: Request) -> Response:
        return _listed(request, [account_answer(self._queue.numbers)], "id")

    async def _account(self, _: Request) -> Response:
        return _ok(account_answer(self._queue.numbers))

    async def _projects(self, request: Request) -> Response:
        return _listed(request, [project_answer(self._queue.numbers)], "id")

    async def _project(self, _: Request) -> Response:
        return _ok(project_answer(self._queue.numbers))

    async def _environments(self, request: Request) -> Response:
        return _listed(request, [environment_answer(self._queue.numbers)], "id")

    async def _environment(self, _: Request) -> Response:
        return _ok(environment_answer(self._queue.numbers))

    async def _list_jobs(self, request: Request) -> Response:
        found = [job for job in self._queue.jobs.values() if not job.deleted and self._is_ours(request)]
        if wanted := request.query_params.get("name__icontains"):
            found = [job for job in found if wanted.lower() in job.name.lower()]
        return _listed(request, [job_answer(job, self._queue.numbers) for job in found], "id")

    async def _create_job(self, request: Request) -> Response:
        body = await _body(request)
        wrong = {
            name: ["This field is required."] for name in ("name", *vars(self._queue.numbers)) if not body.get(name)
        }
        if wrong:
            raise Refused(400, wrong)
        if any(body[name] != number for name, number in vars(self._queue.numbers).items()):
            raise Refused(404)
        steps = _texts(body, "execute_steps") or ["dbt build"]
        job = self._queue.create_job(
            str(body["name"]), steps, str(body.get("description") or ""), str(body.get("job_type") or "other")
        )
        return _ok(job_answer(job, self._queue.numbers))

    async def _get_job(self, request: Request) -> Response:
        return _ok(job_answer(self._job(request), self._queue.numbers))

    async def _update_job(self, request: Request) -> Response:
        job, body = self._job(request), await _body(request)
        job.name = str(body.get("name") or job.name)
        job.execute_steps = _texts(body, "execute_steps") or job.execute_steps
        return _ok(job_answer(job, self._queue.numbers))

    async def _delete_job(self, request: Request) -> Response:
        job = self._job(request)
        self._queue.delete_job(job)
        return _ok(job_answer(job, self._queue.numbers))

    async def _trigger(self, request: Request) -> Response:
        job, body = self._job(request), await _body(request)
        if not body.get("cause"):
            raise Refused(400, {"cause": ["This field is required."]})
        run = self._queue.trigger(job, str(body["cause"]), _texts(body, "steps_override"))
        return _ok(self._told(request, run, "trigger,job"))

    async def _list_runs(self, request: Request) -> Response:
        asked = request.query_params
        found = [run for run in self._queue.runs.values() if self._is_ours(request)]
        if job := asked.get("job_definition_id"):
            found = [run for run in found if str(run.job.id) == job]
        statuses = _numbers(asked, "status__in") or _numbers(asked, "status")
        if statuses is not None:
            found = [run for run in found if run.status in statuses]
        for name in ("finished_at", "created_at"):
            if span := _span(asked, f"{name}__range"):
                found = [run for run in found if (at := getattr(run, name)) and span[0] <= at <= span[1]]
        order = asked.get("order_by", "id")
        if order.removeprefix("-") not in _ORDERS:
            raise Refused(400, {"order_by": [f"{order} is not one of {', '.join(_ORDERS)}."]})
        # Without a time comes last, as in Postgres.
        found.sort(key=lambda run: _order(run, order.removeprefix("-")), reverse=order.startswith("-"))
        page, total = _page_of(request, found)
        return _listing(request, [self._told(request, run) for run in page], total, order)

    async def _get_run(self, request: Request) -> Response:
        return _ok(self._told(request, self._run(request)))

    async def _cancel(self, request: Request) -> Response:
        run = self._run(request)
        self._queue.cancel(run)
        return _ok(self._told(request, run))

    async def _list_artifacts(self, request: Request) -> Response:
        folder = self._queue.artifacts_folder(self._run(request), _number(request.query_params.get("step")))
        names = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
        if not names:
            raise Refused(404)
        return _ok(sorted(names))

    async def _artifact(self, request: Request) -> Response:
        return self._file(self._run(request), request)

    async def _job_artifact(self, request: Request) -> Response:
        job = self._job(request)
        ended = [run for run in self._queue.runs.values() if run.job is job and run.status is Status.SUCCESS]
        if not ended:
            raise Refused(404)
        return self._file(max(ended, key=lambda run: run.id), request)

    def _file(self, run: Run, request: Request) -> Response:
        folder = self._queue.artifacts_folder(run, _number(request.query_params.get("step"))).resolve()
        file = (folder / request.path_params["path"]).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise Refused(404)
        return FileResponse(file, media_type="application/json" if file.suffix == ".json" else "text/plain")

    async def _set_conditions(self, request: Request) -> Response:
        try:
            self._queue.conditions = Conditions.model_validate(await _body(request))
        except ValidationError as error:
            raise Refused(400, {str(part["loc"]): [part["msg"]] for part in error.errors()}) from None
        return _ok(self._queue.conditions.model_dump())

    async def _page(self, request: Request) -> Response:
        """A run's page, for people: what it did. On loopback, so that no login stands before it."""
        run = self._queue.runs.get(request.path_params["run_id"])
        if not run:
            return PlainTextResponse("There is no such run.\n", 404)
        parts = [f"Run {run.id} of the job {run.job.name}: {run.status.name.capitalize()}\n"]
        parts += [f"\n== {step.name}: {step.status.name.capitalize()}\n{step.logs}" for step in run.steps]
        return PlainTextResponse("".join(parts))

    def _told(self, request: Request, run: Run, related: str = "") -> dict[str, Any]:
        wanted = frozenset(part.strip(" []\"'") for part in request.query_params.get("include_related", "").split(","))
        base_url = str(request.base_url).rstrip("/")
        return run_answer(run, self._queue.numbers, base_url, wanted | frozenset(related.split(",")))

    def _is_ours(self, request: Request) -> bool:
        numbers = self._queue.numbers
        wanted = {"project_id": numbers.project_id, "environment_id": numbers.environment_id}
        return all(request.query_params.get(name, str(number)) == str(number) for name, number in wanted.items())

    def _job(self, request: Request) -> Job:
        job = self._queue.jobs.get(request.path_params["job_id"])
        if not job or job.deleted:
            raise Refused(404)
        return job

    def _run(self, request: Request) -> Run:
        if run := self._queue.runs.get(request.path_params["run_id"]):
            return run
        raise Refused(404)


_Endpoint = Callable[[Request], Awaitable[Response]]
_Record = TypeVar("_Record")


class _WithoutLastSlash:
    """The published paths end in a slash, clients leave it out: both are taken, without a redirect."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and len(scope["path"]) > 1:
            scope = {**scope, "path": scope["path"].rstrip("/")}
        await self._application(scope, receive, send)


def _ok(data: object) -> JSONResponse:
    return JSONResponse({"status": _status(200), "data": data})


def _error(status: int, data: object = None) -> JSONResponse:
    return JSONResponse({"status": _status(status), "data": data}, status)


def _status(code: int) -> dict[str, Any]:
    message = "Success!" if code < 400 else _ANSWERS.get(code, "An error has occurred.")
    return {"code": code, "is_success": code < 400, "user_message": message, "developer_message": ""}


async def _not_found(request: Request, error: Exception) -> Response:
    return _error(404)


async def _not_allowed(request: Request, error: Exception) -> Response:
    return _error(405)


def _listed(request: Request, records: list[dict[str, Any]], order: str) -> JSONResponse:
    page, total = _page_of(request, records)
    return _listing(request, page, total, order)


def _listing(request: Request, page: list[dict[str, Any]], total: int, order: str) -> JSONResponse:
    filters = {name: value for name, value in request.query_params.items() if name not in ("order_by", "offset")}
    extra = {"filters": filters, "order_by": order, "pagination": {"count": len(page), "total_count": total}}
    return JSONResponse({"status": _status(200), "data": page, "extra": extra})


def _page_of(request: Request, records: list[_Record]) -> tuple[list[_Record], int]:
    offset = _number(request.query_params.get("offset")) or 0
    limit = _number(request.query_params.get("limit"))
    return records[offset : offset + min(limit if limit is not None else MOST_IN_A_LIST, MOST_IN_A_LIST)], len(records)


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise Refused(400) from None
    if not isinstance(body, dict):
        raise Refused(400)
    return body


def _texts(body: Mapping[str, Any], name: str) -> list[str] | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise Refused(400, {name: ["Not a list of texts."]})
    return value


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise Refused(400) from None


def _numbers(asked: Mapping[str, str], name: str) -> Iterable[int] | None:
    return _json_list(asked[name]) if name in asked else None


def _span(asked: Mapping[str, str], name: str) -> tuple[datetime, datetime] | None:
    if name not in asked:
        return None
    try:
        first, last = (datetime.fromisoformat(text) for text in _json_list(asked[name]))
    except (ValueError, TypeError):
        raise Refused(400, {name: ["Not two times."]}) from None
    return first, last


def _json_list(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError:
        raise Refused(400) from None
    return value if isinstance(value, list) else [value]


def _order(run: Run, name: str) -> tuple[bool, Any, int]:
    value = getattr(run, name)
    return value is None, value or 0, run.id
