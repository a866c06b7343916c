"""The fake Render over HTTP: the API, the deploy hooks, and under `/site/NAME` the public web service.

It says that it is a fake in every answer's `Server` header and on its front page. It refuses what Render's description
does not allow, so that a client that fits it here fits it there.
"""

from __future__ import annotations

import email.parser
import email.policy
import re
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.support.fake_render.blueprint import validate
from tests.support.fake_render.openapi import NotDescribedError, check_request
from tests.support.fake_render.world import OWNER, FakeService, RefusedError, World

PREFIX = "/v1"
# Requests a minute. The documentation's: https://api-docs.render.com/reference/rate-limiting
LIMITS = (("POST", r"/services/[^/]+/deploys", 10), ("POST", r"/services/[^/]+/jobs", 100), ("GET", r".*", 400))
Site = Callable[[str | None], tuple[int, Any]]


@dataclass
class Fault:
    """An answer that the next matching requests get in place of their own.

    Attributes:
        heard: whether the request is carried out before the answer goes wrong.
    """

    method: str
    path: str
    status: int
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "told to"
    heard: bool = False


class FakeRender:
    """The application and what a test tells it.

    Args:
        world: what it holds.
        api_key: the one key that is good.
        site: what the public web service answers `/status` with, from the token it is asked with.

    Attributes:
        asked: method and path of every request, without what is secret.
        faults: what goes wrong next.
    """

    def __init__(self, world: World, api_key: str, site: Site | None = None) -> None:
        self.world = world
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self._key = api_key
        self._site = site
        self._counts: Counter[str] = Counter()
        self.app = Starlette(routes=self._routes())
        self.app.add_middleware(BaseHTTPMiddleware, dispatch=self._around)

    def hook(self, name: str) -> str:
        """A service's deploy hook: a secret."""
        service = self.world.service(name)
        return f"{self.world.base_url}/deploy/{service.id}?key={service.hook_key}"

    def new_minute(self) -> None:
        """All limits begin anew."""
        self._counts.clear()

    # ---- Around every request. ----

    async def _around(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        path = request.url.path
        self.asked.append(f"{request.method} {path}")
        fault = next((f for f in self.faults if f.method == request.method and re.fullmatch(f.path, path)), None)
        if fault:
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
            if fault.heard:
                await call_next(request)
            response: Response = _error(fault.status, fault.message)
            response.headers.update(fault.headers)
        else:
            response = await self._within_limits(request, call_next)
        response.headers["Server"] = "fake-render"
        response.headers["X-Fake"] = "this is not Render"
        return response

    async def _within_limits(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        path = request.url.path.removeprefix(PREFIX)
        rule = next((r for r in LIMITS if r[0] == request.method and re.fullmatch(r[1], path)), None)
        if rule is None or not request.url.path.startswith(PREFIX):
            return await call_next(request)
        bucket = f"{rule[0]} {path if rule[0] == 'POST' else ''}"
        self._counts[bucket] += 1
        left = rule[2] - self._counts[bucket]
        response = await call_next(request) if left >= 0 else _error(429, "rate limit exceeded")
        told = {"Ratelimit-Limit": rule[2], "Ratelimit-Remaining": max(left, 0), "Ratelimit-Reset": 60}
        response.headers.update({name: str(value) for name, value in told.items()})
        return response

    # ---- Routes. ----

    def _routes(self) -> list[Route]:
        table: dict[tuple[str, str], Callable[..., Any]] = {
            ("GET", "/owners"): self._owners,
            ("GET", "/services"): self._services,
            ("GET", "/services/{service}"): self._service,
            ("PATCH", "/services/{service}"): self._change_service,
            ("POST", "/services/{service}/restart"): self._restart,
            ("GET", "/services/{service}/deploys"): self._deploys,
            ("POST", "/services/{service}/deploys"): self._start_deploy,
            ("GET", "/services/{service}/deploys/{deploy}"): self._deploy,
            ("POST", "/services/{service}/deploys/{deploy}/cancel"): self._cancel_deploy,
            ("POST", "/services/{service}/rollback"): self._roll_back,
            ("GET", "/services/{service}/env-vars"): self._variables,
            ("PUT", "/services/{service}/env-vars"): self._replace_variables,
            ("GET", "/services/{service}/env-vars/{name}"): self._variable,
            ("PUT", "/services/{service}/env-vars/{name}"): self._set_variable,
            ("DELETE", "/services/{service}/env-vars/{name}"): self._remove_variable,
            ("GET", "/services/{service}/jobs"): self._jobs,
            ("POST", "/services/{service}/jobs"): self._start_job,
            ("GET", "/services/{service}/jobs/{job}"): self._job,
            ("POST", "/services/{service}/jobs/{job}/cancel"): self._cancel_job,
            ("GET", "/env-groups"): self._groups,
            ("POST", "/env-groups"): self._new_group,
            ("GET", "/env-groups/{group}"): self._group,
            ("PATCH", "/env-groups/{group}"): self._rename_group,
            ("DELETE", "/env-groups/{group}"): self._remove_group,
            ("GET", "/env-groups/{group}/env-vars/{name}"): self._group_variable,
            ("PUT", "/env-groups/{group}/env-vars/{name}"): self._set_group_variable,
            ("DELETE", "/env-groups/{group}/env-vars/{name}"): self._remove_group_variable,
            ("POST", "/env-groups/{group}/services/{service}"): self._link,
            ("DELETE", "/env-groups/{group}/services/{service}"): self._unlink,
            ("POST", "/blueprints/validate"): self._validate,
        }
        api = [
            Route(PREFIX + path, self._endpoint(answer), methods=[method]) for (method, path), answer in table.items()
        ]
        return [
            Route("/", lambda _: PlainTextResponse("This is a fake Render for tests, not Render.\n")),
            Route("/deploy/{service}", self._hook, methods=["GET", "POST"]),
            Route("/site/{service}/status", self._status),
            *api,
        ]

    def _endpoint(self, answer: Callable[..., Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            if request.headers.get("Authorization") != f"Bearer {self._key}":
                return _error(401, "Unauthorized")
            body = await request.body()
            is_json = request.headers.get("Content-Type", "").startswith("application/json")
            try:
                content = (await request.json()) if body and is_json else None
                wrong = check_request(
                    request.method, request.url.path.removeprefix(PREFIX), dict(request.query_params), content
                )
                if wrong:
                    return _error(400, "; ".join(wrong))
                with self.world.lock:
                    given: Response = answer(request, content if is_json else body, **request.path_params)
                    return given
            except ValueError:
                return _error(400, "the body is not JSON")
            except RefusedError as error:
                return _error(error.status, error.message)
            except NotDescribedError as error:
                return _error(404, str(error))

        return endpoint

    # ---- Workspaces and services. ----

    def _owners(self, request: Request, _: Any) -> Response:
        owner = {"id": OWNER, "name": "This is a fake", "email": "nobody@example.invalid", "type": "team"}
        return _page(request, [{"owner": owner, "cursor": OWNER}])

    def _services(self, request: Request, _: Any) -> Response:
        wanted = _listed(request, "name")
        rows = [
            {"service": service.document, "cursor": service.id}
            for service in self.world.services
            if wanted is None or service.name in wanted
        ]
        return _page(request, rows)

    def _service(self, _: Request, __: Any, service: str) -> Response:
        return JSONResponse(self.world.service(service).document)

    def _change_service(self, _: Request, content: Any, service: str) -> Response:
        document = self.world.service(service).document
        if image := content.get("image"):
            if image["ownerId"] != document["ownerId"]:
                raise RefusedError(400, "image owner must match service owner")
            document["imagePath"] = image["imagePath"]
            # Not documented; the worst case is taken: a credential that is not named is gone.
            document.pop("registryCredential", None)
            if credential := image.get("registryCredentialId"):
                document["registryCredential"] = {"id": credential, "name": "registry"}
        document |= {name: content[name] for name in ("name", "autoDeploy") if name in content}
        document["updatedAt"] = self.world.moment()
        return JSONResponse(document)

    def _restart(self, _: Request, __: Any, service: str) -> Response:
        self.world.restart(self.world.service(service))
        return Response(status_code=200)

    # ---- Deploys. ----

    def _deploys(self, request: Request, _: Any, service: str) -> Response:
        found = self.world.service(service)
        wanted = _listed(request, "status")
        for deploy in list(found.deploys):
            self.world.backend.asked(self.world, found, deploy)
        rows = [
            {"deploy": deploy.document, "cursor": deploy.id}
            for deploy in self.world.newest_first(found)
            if wanted is None or deploy.status in wanted
        ]
        return _page(request, rows)

    def _start_deploy(self, _: Request, content: Any, service: str) -> Response:
        found = self.world.service(service)
        reference = content.get("imageUrl", found.document["imagePath"])
        deploy = self.world.new_deploy(found, reference, "api")
        if deploy.status == "queued":
            return Response(status_code=202)
        return JSONResponse(deploy.document, 201)

    def _deploy(self, _: Request, __: Any, service: str, deploy: str) -> Response:
        found = self.world.service(service)
        one = self.world.deploy(found, deploy)
        for other in list(found.deploys):  # what it is queued behind goes on too
            self.world.backend.asked(self.world, found, other)
        return JSONResponse(one.document)

    def _cancel_deploy(self, _: Request, __: Any, service: str, deploy: str) -> Response:
        found = self.world.service(service)
        one = self.world.deploy(found, deploy)
        self.world.cancel(found, one)
        return JSONResponse(one.document)

    def _roll_back(self, _: Request, content: Any, service: str) -> Response:
        deploy = self.world.roll_back(self.world.service(service), content["deployId"])
        return JSONResponse(deploy.document, 201)

    async def _hook(self, request: Request) -> Response:
        with self.world.lock:
            try:
                service = self.world.service(request.path_params["service"])
                if request.query_params.get("key") != service.hook_key:
                    return _error(401, "Unauthorized")  # assumed: what Render answers is not documented
                reference = request.query_params.get("imgURL", service.document["imagePath"])
                deploy = self.world.new_deploy(service, reference, "deploy_hook")
            except RefusedError as error:
                return _error(404, error.message)
            return JSONResponse({"deploy": {"id": deploy.id}})

    async def _status(self, request: Request) -> Response:
        if self._site is None:
            return _error(404, "no site")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or None
        status, content = self._site(token)
        return JSONResponse(content, status)

    # ---- A service's own variables. ----

    def _variables(self, request: Request, _: Any, service: str) -> Response:
        return _page(request, _rows_of(self.world.service(service)))

    def _replace_variables(self, request: Request, content: Any, service: str) -> Response:
        found = self.world.service(service)
        made = [self.world.variable(entry) for entry in content]
        found.variables = {variable["key"]: variable["value"] for variable in made}
        return JSONResponse(_rows_of(found))

    def _variable(self, _: Request, __: Any, service: str, name: str) -> Response:
        variables = self.world.service(service).variables
        if name not in variables:
            raise RefusedError(404, "variable not found")
        return JSONResponse({"key": name, "value": variables[name]})

    def _set_variable(self, _: Request, content: Any, service: str, name: str) -> Response:
        made = self.world.variable({"key": name, **content})
        self.world.service(service).variables[name] = made["value"]
        return JSONResponse(made)

    def _remove_variable(self, _: Request, __: Any, service: str, name: str) -> Response:
        if self.world.service(service).variables.pop(name, None) is None:
            raise RefusedError(404, "variable not found")
        return Response(status_code=204)

    # ---- One-off jobs. ----

    def _jobs(self, request: Request, _: Any, service: str) -> Response:
        wanted = _listed(request, "status")
        rows = [
            {"job": job, "cursor": job["id"]}
            for job in reversed(self.world.service(service).jobs)
            if (wanted is None or job["status"] in wanted) and _in_time(request, job)
        ]
        return _page(request, rows)

    def _start_job(self, _: Request, content: Any, service: str) -> Response:
        return JSONResponse(self.world.new_job(self.world.service(service), content), 201)

    def _job(self, _: Request, __: Any, service: str, job: str) -> Response:
        found = self.world.service(service)
        one = self.world.job(found, job)
        self.world.backend.job_asked(self.world, found, one)
        return JSONResponse(one)

    def _cancel_job(self, _: Request, __: Any, service: str, job: str) -> Response:
        found = self.world.service(service)
        one = self.world.job(found, job)
        if one["status"] not in ("pending", "running"):
            raise RefusedError(400, "job has ended")
        self.world.set_job_status(one, "canceled")
        self.world.backend.end_job(self.world, found, one)
        return JSONResponse(one)

    # ---- Environment groups. ----

    def _groups(self, request: Request, _: Any) -> Response:
        wanted = _listed(request, "name")
        rows = [
            {name: value for name, value in group.items() if name not in ("envVars", "secretFiles")}
            for group in self.world.groups
            if wanted is None or group["name"] in wanted
        ]
        return JSONResponse(rows[: int(request.query_params.get("limit", "20"))])

    def _new_group(self, _: Request, content: Any) -> Response:
        return JSONResponse(self.world.new_group(content), 201)

    def _group(self, _: Request, __: Any, group: str) -> Response:
        return JSONResponse(self.world.group(group))

    def _rename_group(self, _: Request, content: Any, group: str) -> Response:
        found = self.world.group(group)
        found["name"] = content["name"]
        return JSONResponse(found)

    def _remove_group(self, _: Request, __: Any, group: str) -> Response:
        self.world.groups.remove(self.world.group(group))
        return Response(status_code=204)

    def _group_variable(self, _: Request, __: Any, group: str, name: str) -> Response:
        for variable in self.world.group(group)["envVars"]:
            if variable["key"] == name:
                return JSONResponse(variable)
        raise RefusedError(404, "variable not found")

    def _set_group_variable(self, _: Request, content: Any, group: str, name: str) -> Response:
        found = self.world.group(group)
        others = [variable for variable in found["envVars"] if variable["key"] != name]
        found["envVars"] = [*others, self.world.variable({"key": name, **content})]
        found["updatedAt"] = self.world.moment()
        return JSONResponse(found)

    def _remove_group_variable(self, _: Request, __: Any, group: str, name: str) -> Response:
        found = self.world.group(group)
        left = [variable for variable in found["envVars"] if variable["key"] != name]
        if len(left) == len(found["envVars"]):
            raise RefusedError(404, "variable not found")
        found |= {"envVars": left, "updatedAt": self.world.moment()}
        return Response(status_code=204)

    def _link(self, _: Request, __: Any, group: str, service: str) -> Response:
        found = self.world.group(group)
        self.world.link(found, self.world.service(service))
        return JSONResponse(found)

    def _unlink(self, _: Request, __: Any, group: str, service: str) -> Response:
        found = self.world.group(group)
        found["serviceLinks"] = [link for link in found["serviceLinks"] if link["id"] != service]
        return Response(status_code=204)

    # ---- Blueprints. ----

    def _validate(self, request: Request, body: Any) -> Response:
        head = f"Content-Type: {request.headers.get('Content-Type', '')}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        if "ownerId" not in parts or "file" not in parts:
            raise RefusedError(400, "ownerId and file are needed")
        text = parts["file"].get_payload(decode=True)
        if len(text) > 10 * 1024 * 1024:
            return _error(413, "the file is larger than 10 MB")
        return JSONResponse(validate(text))


def _rows_of(service: FakeService) -> list[dict[str, Any]]:
    return [{"envVar": {"key": key, "value": value}, "cursor": key} for key, value in service.variables.items()]


def _listed(request: Request, name: str) -> list[str] | None:
    """A parameter that is a list: with commas, as the description has it, or repeated, as Render's client sends it."""
    given = [part for text in request.query_params.getlist(name) for part in text.split(",")]
    return given or None


def _in_time(request: Request, job: dict[str, Any]) -> bool:
    """Whether a job's moments are after and before those that are asked for."""
    for moment in ("created", "started", "finished"):
        told = job.get(f"{moment}At")
        after, before = (request.query_params.get(f"{moment}{word}") for word in ("After", "Before"))
        if (after or before) and told is None:
            return False
        if (after and _moment(told) < _moment(after)) or (before and _moment(told) > _moment(before)):
            return False
    return True


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _page(request: Request, rows: list[dict[str, Any]]) -> Response:
    cursor = request.query_params.get("cursor")
    places = [row["cursor"] for row in rows]
    first = places.index(cursor) + 1 if cursor in places else 0
    return JSONResponse(rows[first : first + int(request.query_params.get("limit", "20"))])


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"id": str(uuid.uuid4()), "message": message}, status)
