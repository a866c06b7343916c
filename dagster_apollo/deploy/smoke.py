"""Whether a deployment is well, asked from outside and through its login, and whether it is worse than before.

Only what was well before can have been broken by a deploy: a tenant that is merged before its secrets are pushed must
not undo everybody else's release, and one that a release breaks must. What `/status` looks at is the webserver's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from dagster_apollo.deploy.render_http import Clock
from dagster_apollo.errors import DeployError, Problem

# Without these nothing runs: red before is no excuse for them.
_VITAL = ("database", "daemon", "code host")
_LOCATION = "location "
# What of a status has a version and a verdict of its own, and how its reasons call it.
_PARTS = {"database": "database", "daemon": "daemon", "code": "code host"}
_REFUSALS = (401, 403)
_REDIRECTS = (302, 303, 307)


@dataclass(frozen=True)
class Health:
    """What `/status` said at one moment.

    Attributes:
        unheard: why there is no answer to judge by; None when there is one.
        ok: its own verdict.
        versions: who runs which version.
        reasons: what is red, by its name, and why.
        locations: each code location, and whether it is loaded.
        open_to_strangers: whether it answers somebody without a token.
    """

    unheard: str | None = None
    ok: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    locations: Mapping[str, bool] = field(default_factory=dict)
    open_to_strangers: bool = False


class StatusPage:
    """`/status` of one deployment, and the token that opens it.

    Args:
        url: where people find the webserver.
        token: of `apollo tokens new`.
        transport: another way there than the network's.
    """

    def __init__(self, url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._http = httpx.Client(timeout=20, transport=transport, trust_env=False)

    def __repr__(self) -> str:
        return f"StatusPage({self.url!r})"

    def close(self) -> None:
        self._http.close()

    def look(self) -> Health:
        """Ask once.

        Raises:
            DeployError: the token is refused.
        """
        response, failure = self._get({"Authorization": f"Bearer {self._token}"})
        if response is None:
            return Health(unheard=f"{self.url} does not answer: {failure}")
        if response.status_code in (*_REFUSALS, *_REDIRECTS):
            remedy = "Make a token with `apollo tokens new`, deploy the access file, set APOLLO_TOKEN."
            raise DeployError([Problem("APOLLO_TOKEN", f"is refused by {self.url}", remedy)])
        content = _object_in(response)
        if response.status_code not in (200, 503) or "ok" not in content:
            return Health(unheard=f"{self.url}/status answers {response.status_code}, and not with a status")
        stranger, _ = self._get({})
        refused = stranger is not None and stranger.status_code in (*_REFUSALS, *_REDIRECTS)
        return _read(content, open_to_strangers=not refused)

    def _get(self, headers: Mapping[str, str]) -> tuple[httpx.Response | None, str]:
        try:
            return self._http.get(f"{self.url}/status", headers={"Accept": "application/json", **headers}), ""
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, type(error).__name__


def _object_in(response: httpx.Response) -> dict[str, Any]:
    try:
        content = response.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _read(content: Mapping[str, Any], *, open_to_strangers: bool) -> Health:
    parts = {name: content[key] for key, name in _PARTS.items() if isinstance(content.get(key), dict)}
    versions = {name: str(part["version"]) for name, part in parts.items() if part.get("version")}
    if content.get("version"):
        versions["webserver"] = str(content["version"])
    rows = content.get("locations")
    locations = rows if isinstance(rows, dict) else {}
    told = content.get("reasons")
    reasons = {
        **{name: "is not well" for name, part in parts.items() if part.get("ok") is False},
        **{f"{_LOCATION}{name}": "does not load" for name, row in locations.items() if not row.get("loaded")},
        **{str(row.get("where")): _first_line(row.get("what")) for row in told or () if isinstance(row, dict)},
    }
    loaded = {str(name): bool(row.get("loaded")) for name, row in locations.items()}
    return Health(None, content["ok"] is True, versions, reasons, loaded, open_to_strangers)


def _first_line(told: object) -> str:
    return (str(told or "").strip().splitlines() or ["is red"])[0][:300]


def compare(before: Health, now: Health, locations: Collection[str]) -> list[Problem]:
    """What is worse than it was, as errors; what is red and was red before, as warnings.

    Args:
        before: as it was, which may be unheard.
        now: as it is.
        locations: those that this repository declares: one that is gone with its folder, or its line in `tenant.yaml`,
            is not missed.
    """
    if now.unheard:
        return [Problem("smoke test", now.unheard, "See the webserver's log.")]
    problems = []
    if now.open_to_strangers:
        remedy = "Look at the login's settings at once."
        problems.append(Problem("login", "does not keep strangers from /status", remedy))
    if len(set(now.versions.values())) > 1:
        told = ", ".join(f"{name} {version}" for name, version in sorted(now.versions.items()))
        problems.append(Problem("version", f"is not the same everywhere: {told}", "Deploy all services."))
    for name, reason in now.reasons.items():
        if name.startswith(_LOCATION):
            was_well = before.locations.get(name.removeprefix(_LOCATION), False)
        else:
            was_well = name in _VITAL or (before.unheard is None and name not in before.reasons)
        problems.append(_ill(name, reason, was_well=was_well))
    for name in before.locations.keys() - now.locations.keys():
        was_well = before.locations[name] and name in locations
        problems.append(_ill(f"{_LOCATION}{name}", "is not there any more", was_well=was_well))
    if not now.ok and not now.reasons:
        problems.append(_ill("status", "is red and does not say why", was_well=before.ok or bool(before.unheard)))
    return problems


def _ill(where: str, what: str, *, was_well: bool) -> Problem:
    if was_well:
        return Problem(where, what, "See /status and the service's log.")
    return Problem(where, f"{what}; it did not come with this deploy", "See /status.", "warning")


def look_when_settled(page: StatusPage, *, clock: Clock, settle_seconds: float, poll_seconds: float) -> Health:
    """How it is before a deploy; what is red is given that long to pass.

    For a minute after another deploy a location may be asked at the old code host, which is going. Taken for what was
    broken before, it would excuse whatever this deploy breaks.

    Raises:
        DeployError: the token is refused.
    """
    deadline = clock.now() + settle_seconds
    while True:
        health = page.look()
        if health.ok or health.unheard or clock.now() >= deadline:
            return health
        clock.sleep(poll_seconds)


def watch(
    page: StatusPage,
    before: Health,
    locations: Collection[str],
    *,
    clock: Clock,
    settle_seconds: float,
    limit_seconds: float,
    poll_seconds: float,
) -> list[Problem]:
    """The problems that are left when they are gone or the time is up; those of severity `error` fail the smoke test.

    Args:
        settle_seconds: how long to wait first. For a minute after a deploy the old copy still serves whoever is
            connected to it, so the webserver may still judge a location by the old code host.
        limit_seconds: for how long, after that, problems may go away.

    Raises:
        DeployError: the token is refused.
    """
    clock.sleep(settle_seconds)
    deadline = clock.now() + limit_seconds
    while True:
        problems = compare(before, page.look(), locations)
        if not any(problem.severity == "error" for problem in problems) or clock.now() >= deadline:
            return problems
        clock.sleep(poll_seconds)
