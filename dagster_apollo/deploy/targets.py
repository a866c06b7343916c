"""What a deploy is aimed at: the fork's services as Render knows them, their hooks, and the address to look at.

Everything is found by name, so that no id stands in a file; a hook is believed only when it is of the service that has
the name. What is right and wrong with them beyond being found is `checks.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from dagster_apollo.deploy.render_api import Hook, RenderApi
from dagster_apollo.deploy.render_http import Clock
from dagster_apollo.deploy.resources import Service
from dagster_apollo.deploy.smoke import StatusPage
from dagster_apollo.errors import DeployError, Problem, SettingsError
from dagster_apollo.fork import Fork
from dagster_apollo.settings import BY_NAME, Values
from dagster_apollo.topology import Role, topology

Changed = Literal["all", "tenants"]
# The order in which services change: Dagster's own processes are never older than the code host that they talk to, and
# the webserver is first, since its health check proves image, settings and database before anything else moves.
ORDER: tuple[Role, ...] = ("webserver", "daemon", "code")
HOOKS: Mapping[Role, str] = {
    "webserver": "RENDER_DEPLOY_HOOK_WEBSERVER",
    "daemon": "RENDER_DEPLOY_HOOK_DAEMON",
    "code": "RENDER_DEPLOY_HOOK_CODE",
}
TYPES: Mapping[Role, str] = {"webserver": "web_service", "daemon": "background_worker", "code": "private_service"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Target:
    """One service to deploy to.

    Attributes:
        role: what it runs.
        service: as it was when it was found.
        hook: its deploy hook; None: it is deployed through the API.
    """

    role: Role
    service: Service
    hook: Hook | None = None


def names_of(fork: Fork) -> Mapping[Role, str]:
    """The services' names, by role."""
    return {service.role: service.name for service in topology(fork).roles if service.role}


def roles_of(fork: Fork, services: Sequence[str] | None, changed: Changed) -> list[Role]:
    """The roles that a deploy is about, in order.

    Args:
        services: names of services; None: what the change touches.
        changed: `tenants`: only folders of tenants changed, which the code host alone serves.

    Raises:
        DeployError: with every name that is none of a service.
    """
    if services is None:
        return ["code"] if changed == "tenants" else list(ORDER)
    names = names_of(fork)
    known = ", ".join(names.values())
    problems = [
        Problem(name, "is no service of this fork", f"There are: {known}.")
        for name in services
        if name not in names.values()
    ]
    if problems or not services:
        raise DeployError(problems or [Problem("--services", "names none", f"There are: {known}.")])
    return [role for role in ORDER if names[role] in services]


def connect(values: Values, say: Callable[[str], None], clock: Clock | None = None) -> RenderApi:
    """Render's API with the key of the settings.

    Raises:
        SettingsError: with what is missing or malformed.
    """
    key, url = values.text("RENDER_API_KEY") or "", str(values["RENDER_API_URL"])
    problems = []
    if not key.strip():
        remedy = "Make an API key in Render's account settings and set it; keep it out of every file."
        problems.append(Problem("RENDER_API_KEY", "is not set", remedy))
    elif not re.fullmatch(r"[\x21-\x7e]+", key.strip()):
        problems.append(
            Problem("RENDER_API_KEY", "holds what no key holds: a blank or a special letter", "Copy it anew.")
        )
    if not _trusted(url):
        remedy = f"Leave it unset for {BY_NAME['RENDER_API_URL'].default}."
        problems.append(Problem("RENDER_API_URL", "is no https address: a key would be sent in the clear", remedy))
    if problems:
        raise SettingsError(problems)
    return RenderApi(url, key.strip(), clock=clock, say=say)


def _trusted(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def find_services(api: RenderApi, fork: Fork, roles: Sequence[Role]) -> dict[Role, Service]:
    """The services of these roles.

    Raises:
        DeployError: with every one that is not there, or there twice.
        RenderError: the key is refused.
    """
    names = names_of(fork)
    services, problems = {}, []
    for role in roles:
        same = api.services(names[role])
        if len(same) == 1:
            services[role] = same[0]
        elif same:
            remedy = "Use a key of a member of one workspace alone, or delete the other service."
            problems.append(Problem(names[role], f"is there {len(same)} times among what the key opens", remedy))
        else:
            remedy = "Create the Blueprint of render.yaml, or use a key of its workspace."
            problems.append(Problem(names[role], "is no service that the key opens", remedy))
    if problems:
        raise DeployError(problems)
    return services


def hook_of(role: Role, values: Values, service: Service) -> Hook | Problem | None:
    """The role's deploy hook: None when none is set, a problem when it is not one of this service."""
    name = HOOKS[role]
    text = (values.text(name) or "").strip()
    if not text:
        return None
    remedy = f"Copy the deploy hook from the settings of {service.name} in Render's dashboard."
    try:
        parts = urlsplit(text)
        keys = parse_qs(parts.query).get("key", [])
        of_api = urlsplit(str(values["RENDER_API_URL"]))
        same_host = (parts.scheme, parts.hostname, parts.port) == (of_api.scheme, of_api.hostname, of_api.port)
    except ValueError:
        return Problem(name, "is not a URL", remedy)
    found = re.fullmatch(r"/deploy/(srv-[0-9a-z-]+)", parts.path)
    if not found or len(keys) != 1 or not re.fullmatch(r"[\x21-\x7e]+", keys[0]):
        return Problem(name, "is not a deploy hook: `…/deploy/srv-…?key=…`", remedy)
    if not same_host:
        return Problem(name, "is on another host than Render's API: its key would go there", remedy)
    if found[1] != service.id:
        return Problem(name, f"is the hook of {found[1]}, and {service.name} is {service.id}", remedy)
    return Hook(service.id, f"{parts.scheme}://{parts.netloc}{parts.path}", keys[0])


def find_targets(api: RenderApi, fork: Fork, values: Values, roles: Sequence[Role]) -> list[Target]:
    """What is deployed to, in order.

    Raises:
        DeployError: with everything that is not there or does not fit.
        RenderError: the key is refused.
    """
    services = find_services(api, fork, roles)
    hooks = {role: hook_of(role, values, service) for role, service in services.items()}
    problems = [hook for hook in hooks.values() if isinstance(hook, Problem)]
    if problems:
        raise DeployError(problems)
    # The service that migrates the database goes before all that need the new schema.
    migrates = sorted(
        roles, key=lambda role: not services[role].service_details.env_specific_details.pre_deploy_command
    )
    return [Target(role, services[role], hook if isinstance(hook := hooks[role], Hook) else None) for role in migrates]


def status_page(fork: Fork, values: Values, webserver: Service) -> StatusPage:
    """Where the smoke test looks, and with which token.

    Raises:
        SettingsError: there is no token.
    """
    token = (values.text("APOLLO_TOKEN") or "").strip()
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        what = "is not set" if not token else "holds what no token holds: a blank or a special letter"
        remedy = "Make one with `apollo tokens new`: a deploy looks at /status with it."
        raise SettingsError([Problem("APOLLO_TOKEN", what, remedy)])
    return StatusPage(f"https://{fork.domain}" if fork.domain else webserver.service_details.url, token)
