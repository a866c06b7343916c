"""What a fork says about itself: `apollo.toml`, typed and strict, every field with a default that works.

Who may log in by OpenID Connect stands here too, since it is no secret and a change of it deserves a review; passwords
and tokens stand in the access file. What follows from all this is `topology.py` and its projections.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.plans import DatabasePlan, ServicePlan
from dagster_apollo.run_places import Elsewhere

FILE = "apollo.toml"
# The owner in the default image: enough to run on a laptop, refused by a deploy.
PLACEHOLDER_OWNER = "example"
Region = Literal["oregon", "ohio", "virginia", "frankfurt", "singapore"]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
_IMAGE = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")
_PATH = re.compile(r"(/[A-Za-z0-9._-]+)+")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


class ForkError(ProblemsError):
    """An `apollo.toml` that cannot be used."""

    heading = f"{FILE} is not right"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Plans(_Strict):
    """Sizes, in Render's names; a Docker host gives its containers the same memory and processors."""

    webserver: ServicePlan = Field("0.5c-512mb", description="The webserver's plan.")
    daemon: ServicePlan = Field("0.5c-512mb", description="The daemon's plan.")
    code: ServicePlan = Field("1c-2g", description="The code host's plan: tenants and their runs.")
    database: DatabasePlan = Field("basic-1gb", description="Postgres' plan.")


class Rule(_Strict):
    """What somebody who logs in by OpenID Connect is here."""

    role: Literal["viewer", "operator", "administrator"] = Field("viewer", description="The role.")
    tenants: tuple[str, ...] | None = Field(None, description="The tenants that the role is about; unset: all.")
    confined: bool = Field(False, description="See nothing of any other tenant.")

    @model_validator(mode="after")
    def _confined_to_something(self) -> Rule:
        if self.confined and not self.tenants:
            raise ValueError("`confined` needs `tenants`")
        if self.role == "administrator" and (self.confined or self.tenants is not None):
            raise ValueError("an administrator is one of everything: leave out `tenants` and `confined`")
        return self


class LoginRules(_Strict):
    """Who may log in by OpenID Connect. An e-mail address goes before a group, a group before a domain."""

    domains: dict[str, Rule] = Field(default_factory=dict, description="By the e-mail address's domain.")
    groups: dict[str, Rule] = Field(default_factory=dict, description="By a group of the provider's `groups` claim.")
    emails: dict[str, Rule] = Field(default_factory=dict, description="By the e-mail address.")


class DockerHostRules(_Strict):
    """What only a Docker host has."""

    engine_socket: str | None = Field(
        None,
        description="The container engine's socket on the host, such as `/var/run/docker.sock`, which the code host "
        "is given for tenants with `execution: docker`; unset: it is not.",
    )

    @field_validator("engine_socket")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        if path is not None and not _PATH.fullmatch(path):
            raise ValueError("an absolute path without `:` and spaces, `/var/run/docker.sock`")
        return path


class KubernetesRules(_Strict):
    """The cluster of tenants with `run_on: kubernetes`."""

    namespace: str = Field("apollo", description="The namespace of the runs' jobs.")
    service_account: str = Field("default", description="The service account that the runs' pods have there.")
    image_pull_secret: str | None = Field(None, description="The secret with which the cluster pulls the image.")
    kubeconfig: str | None = Field(
        None,
        description="The file on a Docker host with which the daemon, user 10001, reaches the cluster. On Render it is "
        "the daemon's secret file `kubeconfig`.",
    )

    @field_validator("namespace", "service_account", "image_pull_secret")
    @classmethod
    def _a_label(cls, name: str | None) -> str | None:
        if name is not None and not _LABEL.fullmatch(name):
            raise ValueError("a name as Kubernetes has them: lower-case letters, digits and hyphens")
        return name

    @field_validator("kubeconfig")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        if path is not None and not _PATH.fullmatch(path):
            raise ValueError("an absolute path without `:` and spaces")
        return path


class RunRules(_Strict):
    """Where runs may be executed besides the code host. The daemon is given what each takes."""

    elsewhere: tuple[Elsewhere, ...] = Field((), description="`render_job`, `docker`, `kubernetes`: those there are.")
    kubernetes: KubernetesRules = KubernetesRules()


class Fork(_Strict):
    """One fork.

    Attributes:
        name: what its resources on a host and its environment groups begin with.
        image: the image's repository, without tag or digest.
        registry_credential: Render's name of what it pulls a private image with.
        region: Render's region, the same for every service: the private network ends at it.
        domain: the host name under which people find it; unset: Render's own, or loopback on a Docker host.
        plans: the sizes.
        docker_host: what only a Docker host has.
        runs: where runs may be executed besides the code host.
        login: who may log in by OpenID Connect.
    """

    name: Annotated[str, Field(description="What its resources begin with.")] = "apollo"
    image: Annotated[str, Field(description="The image's repository, without a tag.")] = (
        f"ghcr.io/{PLACEHOLDER_OWNER}/dagster-apollo"
    )
    registry_credential: Annotated[
        str | None, Field(description="Render's name of the registry credential, for a private image.", min_length=1)
    ] = None
    region: Annotated[Region, Field(description="Render's region, for every service.")] = "frankfurt"
    domain: Annotated[str | None, Field(description="The host name that people type; unset: Render's own.")] = None
    plans: Plans = Plans()
    docker_host: DockerHostRules = DockerHostRules()
    runs: RunRules = RunRules()
    login: LoginRules = LoginRules()

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("2 to 32 lower-case letters, digits and hyphens, beginning with a letter")
        return name

    @field_validator("image")
    @classmethod
    def _repository(cls, image: str) -> str:
        if not _IMAGE.fullmatch(image):
            raise ValueError("a registry and a repository in lower case, `ghcr.io/owner/name`, without tag or digest")
        return image

    @field_validator("domain")
    @classmethod
    def _host_name(cls, domain: str | None) -> str | None:
        if domain is not None and not _DOMAIN.fullmatch(domain):
            raise ValueError("a host name in lower case, `data.example.com`, without scheme or path")
        return domain

    @model_validator(mode="after")
    def _engine_for_containers(self) -> Fork:
        if "docker" in self.runs.elsewhere and self.docker_host.engine_socket is None:
            raise ValueError("`runs.elsewhere` names docker, so `docker_host.engine_socket` has to say which engine")
        return self

    @property
    def is_placeholder(self) -> bool:
        """Whether the image is still the one that nobody can push to."""
        return self.image.split("/")[1] == PLACEHOLDER_OWNER


def load_fork(root: Path) -> Fork:
    """Read `apollo.toml`; without one, the defaults.

    Raises:
        ForkError: with everything that is wrong in it.
    """
    file = root / FILE
    if not file.exists():
        return Fork()
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ForkError([Problem(FILE, f"is not TOML: {error}", "Mend that line.")]) from None
    return parse_fork(content)


def parse_fork(content: dict[str, object]) -> Fork:
    """Check what `apollo.toml` holds, or what `apollo init` was answered.

    Raises:
        ForkError: with everything that is wrong in it.
    """
    try:
        return Fork.model_validate(content)
    except ValidationError as error:
        raise ForkError([_problem(entry["loc"], entry["type"], entry["msg"]) for entry in error.errors()]) from None


def _problem(place: tuple[int | str, ...], kind: str, message: str) -> Problem:
    path = ".".join(str(part) for part in place)
    if kind != "extra_forbidden":
        return Problem(f"{FILE}: {path}", message.removeprefix("Value error, "), "Correct it.")
    model: type[BaseModel] = Fork
    if place[:2] == ("runs", "kubernetes") and len(place) > 2:
        model = KubernetesRules
    elif len(place) > 3:
        model = Rule
    elif len(place) > 1:
        sections: dict[str, type[BaseModel]] = {"plans": Plans, "docker_host": DockerHostRules, "runs": RunRules}
        model = sections.get(str(place[0]), LoginRules)
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(place[-1]), known, 1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    return Problem(f"{FILE}: {path}", "is not a field", f"Known: {', '.join(known)}.{hint}")
