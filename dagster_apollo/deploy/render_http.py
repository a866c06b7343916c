"""Render over HTTP, below any single call: one request, what is waited for, and how a refusal is told.

Which calls there are stands in `render_api.py` and `render_jobs.py`. A 429 is waited out here, and a GET is asked again
after an answer that means "not now"; a POST never is, because only the caller can find out whether it was heard. The
key is put into a request below the client, so that no URL, exception or log line holds one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from dagster_apollo.errors import Problem, RenderError

_Model = TypeVar("_Model", bound=BaseModel)
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


class RenderClient:
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
        self.transport = transport or httpx.HTTPTransport()
        self._http = httpx.Client(
            base_url=url.rstrip("/"), auth=_Bearer(key), timeout=30, transport=self.transport, trust_env=False
        )

    def close(self) -> None:
        self._http.close()

    def rows(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Every row of a list, page by page."""
        cursor: dict[str, str] = {}
        while True:
            rows = self.ask("GET", path, query={**query, "limit": str(_PAGE), **cursor})
            yield from rows
            last = rows[-1].get("cursor") if rows else None
            if len(rows) < _PAGE or not last:
                return
            cursor = {"cursor": str(last)}

    def ask(
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

    def parsed(self, model: type[_Model], content: object) -> _Model:
        """An answer as what its API describes.

        Raises:
            RenderError: it is not of that form.
        """
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
