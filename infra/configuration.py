"""The Pulumi stack's configuration, typed and strict: what one Docker host differs in from another.

What the fork says of itself stands in `apollo.toml`, what the services are in the topology. Everything that is wrong is
told together, before a resource is declared. The one secret entry, `variables`, holds what a `.env` holds.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.fork import Fork

PROJECT = "dagster-apollo"
_IMAGE = re.compile(r"([a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9._-]+)+@)?sha256:[0-9a-f]{64}")
_HOST = re.compile(r"unix:///.+|ssh://([^@/\s]+@)?[^@/\s]+")


class ConfigurationError(ProblemsError):
    """A stack's configuration that cannot be used."""

    heading = "the stack's configuration is not right"


class Configuration(BaseModel):
    """One Docker host. In `Pulumi.<stack>.yaml` the names are camelCase and begin with `dagster-apollo:`.

    Attributes:
        image: the image of webserver and daemon, by digest or local id.
        code_image: the code host's, which also holds the tenants; unset: `image`, if that is a whole one.
        variables: the texts that `.env` holds; encrypted in file and state.
        docker_host: `unix:///…` or `ssh://user@host`; unset: the engine that the `docker` command uses here.
        ssh_options: further words for `ssh`, such as `-i` and a key's file.
        port: where the webserver is published on the host's loopback, without a domain.
        internal_certificates: Caddy signs for itself instead of asking a public authority: for tests.
        wait_timeout_seconds: how long a container may take to be healthy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=False)

    image: str
    code_image: str | None = None
    variables: Annotated[dict[str, str], Field(repr=False)] = {}
    docker_host: str | None = None
    ssh_options: tuple[str, ...] = ()
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    internal_certificates: bool = False
    wait_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = 300

    @field_validator("image", "code_image")
    @classmethod
    def _by_digest(cls, image: str | None) -> str | None:
        if image is not None and not _IMAGE.fullmatch(image):
            raise ValueError("not an image by digest: `registry/repository@sha256:…`, or a local id, `sha256:…`")
        return image

    @field_validator("docker_host")
    @classmethod
    def _engine(cls, host: str | None) -> str | None:
        if host is not None and not _HOST.fullmatch(host):
            raise ValueError("not an engine's address: `unix:///path` or `ssh://user@host`")
        return host

    def address(self, fork: Fork) -> str:
        """The webserver's address as people type it: the domain's, else APOLLO_PUBLIC_URL, else loopback."""
        if fork.domain:
            return f"https://{fork.domain}"
        return self.variables.get("APOLLO_PUBLIC_URL", "").strip() or f"http://127.0.0.1:{self.port}"


def parse(entries: Mapping[str, str], secret: Collection[str]) -> Configuration:
    """Read a stack's entries.

    Args:
        entries: texts by key, without the project's name; what is no text is JSON, as Pulumi hands it over.
        secret: the keys whose entries are encrypted.

    Raises:
        ConfigurationError: with everything that is wrong.
    """
    found: list[Problem] = []
    typed: dict[str, Any] = {}
    for key, text in entries.items():
        try:
            typed[key] = json.loads(text) if key in _STRUCTURED else text
        except json.JSONDecodeError:
            found.append(
                Problem(_named(key), "is not JSON", "Set it by `make up`, or with `pulumi config set --path`.")
            )
    if "variables" in typed and "variables" not in secret:
        remedy = "Set it with `pulumi config set --secret`, and change what stood there: it is in a file in clear."
        found.append(Problem(_named("variables"), "is not encrypted", remedy))
    try:
        configuration = Configuration.model_validate(typed)
    except ValidationError as error:
        # Of a value that is wrong pydantic keeps the text: it is not shown, and neither is the error.
        broken = {problem.where for problem in found}
        wrong = [_problem(entry["loc"], entry["type"], entry["msg"]) for entry in error.errors(include_input=False)]
        raise ConfigurationError([*found, *(each for each in wrong if each.where not in broken)]) from None
    if configuration.ssh_options and not (configuration.docker_host or "").startswith("ssh://"):
        found.append(
            Problem(_named("sshOptions"), "is of use for an ssh:// host only", "Set dockerHost, or remove it.")
        )
    if found:
        raise ConfigurationError(found)
    return configuration


_STRUCTURED = ("variables", "sshOptions", "port", "internalCertificates", "waitTimeoutSeconds")
_KEYS = tuple(to_camel(name) for name in Configuration.model_fields)


def _named(key: str) -> str:
    return f"{PROJECT}:{key}"


def _problem(place: tuple[int | str, ...], kind: str, message: str) -> Problem:
    where = _named(".".join(str(part) for part in place))
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(place[0]), _KEYS, 1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        return Problem(where, "is not an entry", f"Known: {', '.join(_KEYS)}.{hint}")
    if kind == "missing":
        return Problem(where, "is not set", f"`pulumi config set {place[0]} VALUE`, or let `make up` build the image.")
    return Problem(where, message.removeprefix("Value error, "), "Correct it.")
