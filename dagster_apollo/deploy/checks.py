"""Whether a deploy would find everything as it must be: `apollo deploy --check`. Nothing here changes anything.

Finding services and hooks is `targets.py`; what is asked here beyond that is what a deploy would only meet on its way,
or what is no longer as the Blueprint has it. A deploy hook's key cannot be tried without a deploy.
"""

from __future__ import annotations

from collections.abc import Callable

from dagster_apollo.deploy.image import digest_of, repository_of
from dagster_apollo.deploy.render_api import RenderApi
from dagster_apollo.deploy.resources import Service
from dagster_apollo.deploy.targets import HOOKS, ORDER, TYPES, find_services, hook_of, names_of, status_page
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.fork import Fork
from dagster_apollo.settings import Values
from dagster_apollo.topology import Role, tenants_group

# Render's older names for the plans of `apollo.toml`, as its API may still tell them.
_OLDER_PLANS = {
    "starter": "0.5c-512mb",
    "standard": "1c-2g",
    "pro": "2c-4g",
    "pro_plus": "4c-8g",
    "pro_max": "4c-16g",
    "pro_ultra": "8c-32g",
}
_BLUEPRINT = "Sync the Blueprint of render.yaml, or undo the change in the dashboard."


def examine(api: RenderApi, fork: Fork, values: Values) -> dict[str, list[Problem]]:
    """Everything that a deploy needs, each with what is wrong with it; an empty list: it is right."""
    found: dict[str, list[Problem]] = {"image": _image(fork)}
    owners = _collected(lambda: _owners(api))
    found["API key"] = owners
    if owners:
        return found
    services: dict[Role, Service] = {}
    names = names_of(fork)
    for role in ORDER:
        found[names[role]] = _collected(lambda role=role: _service(api, fork, role, services))  # type: ignore[misc]
    for role, service in services.items():
        hook = hook_of(role, values, service)
        found[HOOKS[role]] = _hook(hook, HOOKS[role], service)
    if services:
        found["migration"] = _migration(services)
    if "webserver" in services:
        found["status page"] = _collected(lambda: _status(fork, values, services["webserver"]))
    if "code" in services:
        found["environment group"] = _collected(lambda: _group(api, fork, services["code"]))
    return found


def _collected(look: Callable[[], list[Problem]]) -> list[Problem]:
    try:
        return look()
    except ProblemsError as error:
        return list(error.problems)


def _image(fork: Fork) -> list[Problem]:
    if not fork.is_placeholder:
        return []
    return [Problem("apollo.toml: image", f"is still {fork.image}", "Run `apollo init`.")]


def _owners(api: RenderApi) -> list[Problem]:
    if api.owners():
        return []
    return [Problem("RENDER_API_KEY", "opens no workspace", "Use a key of a member of the workspace.")]


def _service(api: RenderApi, fork: Fork, role: Role, services: dict[Role, Service]) -> list[Problem]:
    service = services[role] = find_services(api, fork, [role])[role]
    details = service.service_details
    plan = _OLDER_PLANS.get(details.plan, details.plan)
    expected = [
        ("type", service.type, TYPES[role], "error"),
        ("runtime", details.runtime, "image", "error"),
        ("region", details.region, fork.region, "error"),
        ("suspended", service.suspended, "not_suspended", "error"),
        ("autoDeploy", service.auto_deploy, "no", "warning"),
        ("image repository", repository_of(service.image_path), fork.image, "error"),
        ("plan", plan, getattr(fork.plans, role), "warning"),
    ]
    problems = [
        Problem(f"{service.name}: {what}", f"is {is_!r}, not {wanted!r}", _BLUEPRINT, severity)  # type: ignore[arg-type]
        for what, is_, wanted, severity in expected
        if is_ != wanted
    ]
    live = next(iter(api.deploys(service.id, status="live", limit=1)), None)
    if live is None:
        remedy = "A first deploy that fails has nothing to go back to."
        problems.append(Problem(service.name, "has no live deploy", remedy, "warning"))
    elif digest_of(service.image_path) != live.digest:
        what = f"restarts take {service.image_path}, which is not by name what is live"
        problems.append(Problem(service.name, what, "The next `apollo deploy` mends it.", "warning"))
    return problems


def _hook(hook: object, name: str, service: Service) -> list[Problem]:
    if isinstance(hook, Problem):
        return [hook]
    if hook is None:
        return [Problem(name, f"is not set: {service.name} is deployed through the API", "That is well too.", "note")]
    return []


def _migration(services: dict[Role, Service]) -> list[Problem]:
    with_it = [s.name for s in services.values() if s.service_details.env_specific_details.pre_deploy_command]
    if len(with_it) == 1:
        return []
    told = "no service has" if not with_it else f"{', '.join(with_it)} have"
    return [Problem("preDeployCommand", f"{told} one, and one service must migrate the database", _BLUEPRINT)]


def _status(fork: Fork, values: Values, webserver: Service) -> list[Problem]:
    page = status_page(fork, values, webserver)
    try:
        health = page.look()
    finally:
        page.close()
    if health.unheard:
        return [Problem("status page", health.unheard, "See the webserver's log in the dashboard.")]
    problems = [] if health.ok else [Problem("status page", "is red", f"See {page.url}/status.", "warning")]
    if health.open_to_strangers:
        problems.append(Problem("status page", "answers strangers", "Look at the login's settings at once."))
    return problems


def _group(api: RenderApi, fork: Fork, code: Service) -> list[Problem]:
    name = tenants_group(fork)
    groups = [group for group in api.env_groups(name) if group.owner_id == code.owner_id]
    if not groups:
        return [Problem(name, "is not there yet", "`apollo secrets push` makes it.", "note")]
    problems = [
        Problem(name, f"is linked to {link.name}, which must not know tenants' secrets", "Unlink it.")
        for link in groups[0].service_links
        if link.id != code.id
    ]
    if all(link.id != code.id for link in groups[0].service_links):
        problems.append(Problem(name, f"is not linked to {code.name}", "`apollo secrets push` links it.", "warning"))
    return problems
