"""Render's API and deploy hooks over HTTP: one method for each call that a deploy makes.

What the calls are made for stands in `release.py` and `secrets.py`. A 429 is waited out here, and a GET is asked again
after an answer that means "not now"; a POST never is, because only the caller can find out whether it was heard. The
keys of API and hooks are put into a request below the client, so that no URL, exception or log line holds one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from dagster_apollo.deploy.image import Image
from dagster_apollo.deploy.resources import Deploy, EnvGroup, Owner, Service
from dagster_apollo.errors import Problem, RenderError

_Model = TypeVar("_Model", Deploy, EnvGroup, Owner, Service)
_NOT_NOW = (500, 502, 503, 504)
_ATTEMPTS = 5
# A limit is per minute: https://api-docs.render.com/reference/rate-limiting. What asks for longer is no rate limit.
_LONGEST_WAIT_SECONDS = 120.0
_PAGE = 100


class Clock(Protocol):
    """Time as a deploy spends it; tests have one that does not wait."""

    def now(self) -> float:
        """Seconds since some moment; never runs backwards."""

    def sleep(self, seconds: float) -> None:
        """Let that long pass."""


class RealClock:
    """The machine's own time."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Hook:
    """A deploy hook: a URL that starts a deploy of one service for whoever knows its key.

    Attributes:
        service_id: the service that it is of.
        address: the URL without its key.
    """

    def __init__(self, service_id: str, address: str, key: str) -> None:
        self.service_id = service_id
        self.address = address
        self._key = key

    def __repr__(self) -> str:
        return f"Hook({self.service_id!r})"

    def transport(self, below: httpx.BaseTransport) -> httpx.BaseTransport:
        """What adds the key, below everything that logs or tells an address."""
        return _Keyed(below, self._key)


class RenderApi:
    """Render, as one API key sees it.

    Args:
        url: the API's address, `https://api.render.com/v1`.
        key: the API key, or the empty text for calls of hooks alone.
        clock: time.
        say: told what is waited for.
        transport: another way to Render than the network's.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        clock: Clock | None = None,
        say: Callable[[str], None] = lambda _: None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._clock = clock or RealClock()
        self._say = say
        self._transport = transport or httpx.HTTPTransport()
        self._http = httpx.Client(
            base_url=url.rstrip("/"), auth=_Bearer(key), timeout=30, transport=self._transport, trust_env=False
        )

    def close(self) -> None:
        self._http.close()

    # ---- Workspaces and services. ----

    def owners(self) -> list[Owner]:
        """The workspaces that the key opens."""
        return [self._parsed(Owner, row["owner"]) for row in self._rows("/owners", {})]

    def services(self, name: str) -> list[Service]:
        """The services of this name, in whatever workspace."""
        rows = self._rows("/services", {"name": name, "includePreviews": "false"})
        found = [self._parsed(Service, row["service"]) for row in rows]
        return [service for service in found if service.name == name]

    def service(self, service_id: str) -> Service:
        return self._parsed(Service, self._json("GET", f"/services/{service_id}"))

    def configure_image(self, service: Service, reference: str) -> Service:
        """Make an image the one that restarts, scaling and plain deploys of a service take.

        The credential is named again: whether Render keeps one that is left out is not documented.
        """
        image = {"ownerId": service.owner_id, "imagePath": reference}
        if service.registry_credential:
            image["registryCredentialId"] = service.registry_credential.id
        return self._parsed(Service, self._json("PATCH", f"/services/{service.id}", {"image": image}))

    # ---- Deploys. ----

    def deploys(self, service_id: str, *, status: str | None = None, limit: int = 20) -> list[Deploy]:
        """A service's last deploys, the newest first."""
        asked = {"limit": str(limit), **({"status": status} if status else {})}
        rows = self._json("GET", f"/services/{service_id}/deploys", query=asked)
        deploys = [self._parsed(Deploy, row["deploy"]) for row in rows]
        return sorted(deploys, key=lambda one: one.created_at.timestamp() if one.created_at else 0.0, reverse=True)

    def deploy(self, service_id: str, deploy_id: str) -> Deploy:
        return self._parsed(Deploy, self._json("GET", f"/services/{service_id}/deploys/{deploy_id}"))

    def start_deploy(self, service_id: str, image: Image) -> Deploy | None:
        """Begin a deploy of an image. None: it is queued, and Render did not say under which id."""
        content = self._json("POST", f"/services/{service_id}/deploys", {"imageUrl": str(image)})
        return self._parsed(Deploy, content) if content else None

    def call_hook(self, hook: Hook, image: Image) -> str | None:
        """Begin a deploy of an image by a hook; it gives the deploy's id where Render tells it.

        https://render.com/docs/deploy-hooks: everything in `imgURL` but tag and digest is the configured image's.
        """
        with httpx.Client(transport=hook.transport(self._transport), timeout=30, trust_env=False) as client:
            content = self._json("POST", hook.address, query={"imgURL": str(image)}, client=client)
        found = content.get("deploy", {}).get("id") if isinstance(content, dict) else None
        return str(found) if found else None

    def cancel_deploy(self, service_id: str, deploy_id: str) -> Deploy:
        return self._parsed(Deploy, self._json("POST", f"/services/{service_id}/deploys/{deploy_id}/cancel"))

    def roll_back(self, service_id: str, deploy_id: str) -> Deploy:
        """Begin a deploy of what an earlier one deployed, with the variables of then."""
        content = self._json("POST", f"/services/{service_id}/rollback", {"deployId": deploy_id})
        return self._parsed(Deploy, content)

    # ---- Environment groups. ----

    def env_groups(self, name: str) -> list[EnvGroup]:
        """The groups of this name, without their variables."""
        found = [self._parsed(EnvGroup, row.get("envGroup", row)) for row in self._rows("/env-groups", {"name": name})]
        return [group for group in found if group.name == name]

    def env_group(self, group_id: str) -> EnvGroup:
        return self._parsed(EnvGroup, self._json("GET", f"/env-groups/{group_id}"))

    def create_env_group(
        self, name: str, owner_id: str, variables: Mapping[str, str], service_ids: Sequence[str]
    ) -> EnvGroup:
        content = {
            "name": name,
            "ownerId": owner_id,
            "envVars": [{"key": key, "value": value} for key, value in variables.items()],
            "serviceIds": list(service_ids),
        }
        return self._parsed(EnvGroup, self._json("POST", "/env-groups", content))

    def set_variable(self, group_id: str, name: str, value: str) -> None:
        """Add or replace one variable; the call for many at once would remove every other."""
        self._json("PUT", f"/env-groups/{group_id}/env-vars/{quote(name, safe='')}", {"value": value})

    def remove_variable(self, group_id: str, name: str) -> None:
        self._json("DELETE", f"/env-groups/{group_id}/env-vars/{quote(name, safe='')}")

    def link(self, group_id: str, service_id: str) -> None:
        """Give a service a group's variables, from its next deploy on."""
        self._json("POST", f"/env-groups/{group_id}/services/{service_id}")

    # ---- One request. ----

    def _rows(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Every row of a list, page by page."""
        cursor: dict[str, str] = {}
        while True:
            rows = self._json("GET", path, query={**query, "limit": str(_PAGE), **cursor})
            yield from rows
            last = rows[-1].get("cursor") if rows else None
            if len(rows) < _PAGE or not last:
                return
            cursor = {"cursor": str(last)}

    def _json(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        query: Mapping[str, str] | None = None,
        client: httpx.Client | None = None,
    ) -> Any:
        """What Render answers; None for an empty body.

        Raises:
            RenderError: it refused, or was not heard.
        """
        what = f"{method} {path}"
        for attempt in range(1, _ATTEMPTS + 1):
            # Errors are raised outside of `except`: the context of one can hold a key or what was answered.
            failure, response = "", None
            try:
                response = (client or self._http).request(method, path, json=content, params=query)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                failure = type(error).__name__
            if response is None:
                if method == "GET" and attempt < _ATTEMPTS:
                    self._clock.sleep(2.0**attempt)
                    continue
                remedy = "Check the network and RENDER_API_URL."
                raise RenderError(Problem(what, f"was not answered: {failure}", remedy), None)
            wait = self._wait(response, method, attempt)
            if wait is None:
                return self._content(response, what)
            self._say(f"Render says {response.status_code}; asking again in {wait:.0f} s")
            self._clock.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, response: httpx.Response, method: str, attempt: int) -> float | None:
        """How long to wait before the same is asked again; None: not at all."""
        if attempt == _ATTEMPTS:
            return None
        if response.status_code == 429:  # refused, so not done: safe for every method
            wait = _told_to_wait(response.headers)
            return wait if wait <= _LONGEST_WAIT_SECONDS else None
        return 2.0**attempt if method == "GET" and response.status_code in _NOT_NOW else None

    def _content(self, response: httpx.Response, what: str) -> Any:
        if not response.is_success:
            raise RenderError(_refusal(response, what), response.status_code)
        known, content = _json_of(response)
        if known:
            return content
        problem = Problem(what, "was answered with something else than JSON", "Check RENDER_API_URL.")
        raise RenderError(problem, response.status_code)

    def _parsed(self, model: type[_Model], content: object) -> _Model:
        try:
            return model.model_validate(content)
        except ValidationError as error:
            fields = ", ".join(sorted({".".join(map(str, entry["loc"])) for entry in error.errors()}))
        problem = Problem(
            f"Render's {model.__name__}", f"does not have the form that its API describes: {fields}", "Report it."
        )
        raise RenderError(problem, None)


def _told_to_wait(headers: Mapping[str, str]) -> float:
    """Seconds until a limit is over; a reset may be told as a moment instead."""
    for name in ("retry-after", "ratelimit-reset"):
        try:
            told = float(headers[name])
        except (KeyError, ValueError):
            continue
        return max(told - time.time() if told > 1e9 else told, 0.0) + 0.1
    return 15.0


_REMEDIES = {
    401: "Check the key: RENDER_API_KEY, or for a deploy hook the hook itself. `apollo deploy --check` looks at all.",
    402: "Add a way of paying to the workspace.",
    403: "The key's owner may not do this: use one of a member who may.",
    404: "Check that the service exists in the workspace of this key, and that the image can be pulled.",
    409: "Another change is under way: look at the service in Render's dashboard.",
    410: "The service is gone: sync the Blueprint.",
    429: "Wait a minute, then do it again.",
}


def _json_of(response: httpx.Response) -> tuple[bool, Any]:
    try:
        return True, response.json() if response.content.strip() else None
    except ValueError:
        return False, None


def _refusal(response: httpx.Response, what: str) -> Problem:
    _, content = _json_of(response)
    # Render's own words, on one line and cut; not where a key or a variable was sent, which they might repeat.
    silent = response.status_code == 401 or "/env-" in what
    told = str(content.get("message", "")) if isinstance(content, dict) and not silent else ""
    told = " ".join(told.split())[:200]
    reason = f"was answered with {response.status_code}" + (f": {told}" if told else "")
    return Problem(what, reason, _REMEDIES.get(response.status_code, "Look at https://status.render.com."))


class _Bearer(httpx.Auth):
    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Any:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        yield request


class _Keyed(httpx.BaseTransport):
    """Adds a hook's key to the address of a request on its way out, and not to the request that others see."""

    def __init__(self, below: httpx.BaseTransport, key: str) -> None:
        self._below = below
        self._key = key

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._below.handle_request(
            httpx.Request(
                request.method,
                request.url.copy_merge_params({"key": self._key}),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )
