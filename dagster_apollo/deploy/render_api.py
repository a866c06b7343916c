"""Render's API and deploy hooks: one method for each call that a deploy makes.

What the calls are made for stands in `release.py` and `secrets.py`. One-off jobs are `render_jobs.py`, and how a
request is made `render_http.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import httpx

from dagster_apollo.deploy.image import Image
from dagster_apollo.deploy.render_http import RenderClient
from dagster_apollo.deploy.resources import Deploy, EnvGroup, Owner, Service


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


class RenderApi(RenderClient):
    """The calls of a deploy."""

    # ---- Workspaces and services. ----

    def owners(self) -> list[Owner]:
        """The workspaces that the key opens."""
        return [self.parsed(Owner, row["owner"]) for row in self.rows("/owners", {})]

    def services(self, name: str) -> list[Service]:
        """The services of this name, in whatever workspace."""
        rows = self.rows("/services", {"name": name, "includePreviews": "false"})
        found = [self.parsed(Service, row["service"]) for row in rows]
        return [service for service in found if service.name == name]

    def service(self, service_id: str) -> Service:
        return self.parsed(Service, self.ask("GET", f"/services/{service_id}"))

    def configure_image(self, service: Service, reference: str) -> Service:
        """Make an image the one that restarts, scaling and plain deploys of a service take.

        The credential is named again: whether Render keeps one that is left out is not documented.
        """
        image = {"ownerId": service.owner_id, "imagePath": reference}
        if service.registry_credential:
            image["registryCredentialId"] = service.registry_credential.id
        return self.parsed(Service, self.ask("PATCH", f"/services/{service.id}", {"image": image}))

    # ---- Deploys. ----

    def deploys(self, service_id: str, *, status: str | None = None, limit: int = 20) -> list[Deploy]:
        """A service's last deploys, the newest first."""
        asked = {"limit": str(limit), **({"status": status} if status else {})}
        rows = self.ask("GET", f"/services/{service_id}/deploys", query=asked)
        deploys = [self.parsed(Deploy, row["deploy"]) for row in rows]
        return sorted(deploys, key=lambda one: one.created_at.timestamp() if one.created_at else 0.0, reverse=True)

    def deploy(self, service_id: str, deploy_id: str) -> Deploy:
        return self.parsed(Deploy, self.ask("GET", f"/services/{service_id}/deploys/{deploy_id}"))

    def start_deploy(self, service_id: str, image: Image) -> Deploy | None:
        """Begin a deploy of an image. None: it is queued, and Render did not say under which id."""
        content = self.ask("POST", f"/services/{service_id}/deploys", {"imageUrl": str(image)})
        return self.parsed(Deploy, content) if content else None

    def call_hook(self, hook: Hook, image: Image) -> str | None:
        """Begin a deploy of an image by a hook; it gives the deploy's id where Render tells it.

        https://render.com/docs/deploy-hooks: everything in `imgURL` but tag and digest is the configured image's.
        """
        with httpx.Client(transport=hook.transport(self.transport), timeout=30, trust_env=False) as client:
            content = self.ask("POST", hook.address, query={"imgURL": str(image)}, client=client)
        found = content.get("deploy", {}).get("id") if isinstance(content, dict) else None
        return str(found) if found else None

    def cancel_deploy(self, service_id: str, deploy_id: str) -> Deploy:
        return self.parsed(Deploy, self.ask("POST", f"/services/{service_id}/deploys/{deploy_id}/cancel"))

    def roll_back(self, service_id: str, deploy_id: str) -> Deploy:
        """Begin a deploy of what an earlier one deployed, with the variables of then."""
        content = self.ask("POST", f"/services/{service_id}/rollback", {"deployId": deploy_id})
        return self.parsed(Deploy, content)

    # ---- Environment groups. ----

    def env_groups(self, name: str) -> list[EnvGroup]:
        """The groups of this name, without their variables."""
        found = [self.parsed(EnvGroup, row.get("envGroup", row)) for row in self.rows("/env-groups", {"name": name})]
        return [group for group in found if group.name == name]

    def env_group(self, group_id: str) -> EnvGroup:
        return self.parsed(EnvGroup, self.ask("GET", f"/env-groups/{group_id}"))

    def create_env_group(
        self, name: str, owner_id: str, variables: Mapping[str, str], service_ids: Sequence[str]
    ) -> EnvGroup:
        content = {
            "name": name,
            "ownerId": owner_id,
            "envVars": [{"key": key, "value": value} for key, value in variables.items()],
            "serviceIds": list(service_ids),
        }
        return self.parsed(EnvGroup, self.ask("POST", "/env-groups", content))

    def set_variable(self, group_id: str, name: str, value: str) -> None:
        """Add or replace one variable; the call for many at once would remove every other."""
        self.ask("PUT", f"/env-groups/{group_id}/env-vars/{quote(name, safe='')}", {"value": value})

    def remove_variable(self, group_id: str, name: str) -> None:
        self.ask("DELETE", f"/env-groups/{group_id}/env-vars/{quote(name, safe='')}")

    def link(self, group_id: str, service_id: str) -> None:
        """Give a service a group's variables, from its next deploy on."""
        self.ask("POST", f"/env-groups/{group_id}/services/{service_id}")


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
