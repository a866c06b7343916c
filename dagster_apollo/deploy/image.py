"""What an image is called: a repository, and in it a digest or a tag.

A deploy takes digests alone, since a tag may name another image by the time a service restarts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dagster_apollo.errors import DeployError, Problem
from dagster_apollo.fork import Fork

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Image:
    """An image by digest.

    Attributes:
        repository: registry and path, without tag or digest.
        digest: `sha256:…`.
    """

    repository: str
    digest: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"

    @property
    def short(self) -> str:
        """The digest as it is told to people."""
        return self.digest[: len("sha256:") + 12]


def parse_image(reference: str, fork: Fork) -> Image:
    """The image that a person asked for.

    Args:
        reference: `REPOSITORY@sha256:…`, with or without a tag before the `@`.
        fork: its repository is the only one that its services take images of.

    Raises:
        DeployError: with everything that is wrong with it.
    """
    named, separator, digest = reference.strip().partition("@")
    problems = []
    if fork.is_placeholder:
        problems.append(Problem("apollo.toml: image", f"is still {fork.image}, nobody's", "Run `apollo init`."))
    if not separator or not _DIGEST.fullmatch(digest):
        remedy = "Give REPOSITORY@sha256:…, as `docker buildx imagetools inspect` and the push print it."
        problems.append(Problem(reference, "is not an image by digest", remedy))
    if repository_of(named) != fork.image:
        remedy = "Push it there, or correct `image` in apollo.toml; Render takes no other repository in a deploy."
        problems.append(Problem(reference, f"is not of this fork's repository {fork.image}", remedy))
    if problems:
        raise DeployError(problems)
    return Image(fork.image, digest)


def repository_of(reference: str) -> str:
    """An image reference without tag and digest: `ghcr.io/a/b:1@sha256:…` → `ghcr.io/a/b`."""
    named = reference.partition("@")[0]
    head, slash, last = named.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"  # a colon before the last slash is a registry's port


def digest_of(reference: str) -> str | None:
    """The digest of an image reference, where it has one."""
    found = _DIGEST.search(reference.partition("@")[2])
    return found.group() if found else None
