"""Render's resources as its API describes them, as far as a deploy reads them.

Source: Render's OpenAPI description, https://api-docs.render.com; the part that is used is kept in `tests/data/render`.
An unknown field is left aside and one that is missing has a default, because Render omits what is not set.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from dagster_apollo.deploy.image import digest_of

Ended = Literal["live", "build_failed", "pre_deploy_failed", "update_failed", "canceled", "deactivated"]
FAILED = ("build_failed", "pre_deploy_failed", "update_failed")
ENDED = ("live", *FAILED, "canceled", "deactivated")


class _Resource(BaseModel):
    # Without hide_input_in_errors an answer that does not fit would be shown, with the variables in it.
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, hide_input_in_errors=True)


class Owner(_Resource):
    """A workspace."""

    id: str
    name: str = ""


class DeployedImage(_Resource):
    """What a deploy was asked for, and what that was resolved to."""

    ref: str = ""
    sha: str = ""


class Deploy(_Resource):
    """One deploy of one service; `status` is one of Render's words, of which `ENDED` change no more, but for `live`."""

    id: str
    status: str = "created"
    trigger: str = ""
    image: DeployedImage = DeployedImage()
    created_at: datetime | None = None

    @property
    def digest(self) -> str | None:
        """The digest of its image: as resolved, else as asked for."""
        return digest_of(f"@{self.image.sha}") or digest_of(self.image.ref)

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


class Job(_Resource):
    """A one-off job: a command in a container of a service's image, with that service's variables.

    Attributes:
        status: `pending`, `running`, `succeeded`, `failed` or `canceled`; older answers leave it out while it waits.
    """

    id: str
    start_command: str = ""
    status: str = "pending"
    created_at: datetime | None = None


class ImageDetails(_Resource):
    """How an image's containers are started."""

    docker_command: str = ""
    pre_deploy_command: str = ""


class ServiceDetails(_Resource):
    """What depends on the type of the service."""

    runtime: str = ""
    plan: str = ""
    region: str = ""
    url: str = ""
    health_check_path: str = ""
    env_specific_details: ImageDetails = ImageDetails()


class CredentialName(_Resource):
    """Which registry credential pulls a service's image."""

    id: str


class Service(_Resource):
    """One service."""

    id: str
    name: str
    owner_id: str
    type: str
    suspended: str = "not_suspended"
    auto_deploy: str = "no"
    image_path: str = ""
    registry_credential: CredentialName | None = None
    service_details: ServiceDetails = ServiceDetails()


class Variable(_Resource):
    """One variable of an environment group; its value is taken for a secret."""

    key: str
    value: str = Field("", repr=False)


class Link(_Resource):
    """A service that an environment group is linked to."""

    id: str
    name: str = ""


class EnvGroup(_Resource):
    """An environment group; the list of groups leaves the variables out."""

    id: str
    name: str
    owner_id: str
    service_links: tuple[Link, ...] = ()
    env_vars: tuple[Variable, ...] = Field((), repr=False)
    updated_at: datetime | None = None
