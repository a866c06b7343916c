"""Every error that the project raises on purpose, and the one form in which a problem is told.

A problem names the thing, says what is wrong with it and what to do. The problems of one input are collected and
raised together. No message ever holds the value of a secret; what is not the caller's to mend has no place here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

ContainerFailure = Literal[
    "no_engine",  # nothing answers, or no longer
    "no_image",
    "pull_refused",
    "stale_image",  # built from other files than those that are here
    "no_network",
    "volume_refused",
    "start_refused",  # by the engine, for any other reason; the command is not in the image
    "out_of_memory",
    "out_of_time",
    "killed",  # by somebody else
]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: the thing's own name: a variable, a file, a tenant, a model.
        what: what is wrong with it; never the value of a secret.
        remedy: what a person does about it.
        severity: an `error` stops what was asked for, a `warning` and a `note` do not.
    """

    where: str
    what: str
    remedy: str
    severity: Literal["error", "warning", "note"] = "error"

    def __str__(self) -> str:
        return f"{self.where}: {self.what.rstrip('.')}. {self.remedy}".rstrip()

    def as_dict(self) -> dict[str, str]:
        """The stable form that `--json` prints."""
        return asdict(self)


class ApolloError(Exception):
    """The base of all that follows: `except ApolloError` is what a command line shows without a traceback."""


class ProblemsError(ApolloError):
    """One or several problems of one input, raised together.

    Attributes:
        problems: all of them, in the order in which they were found; at least one.
    """

    heading = "problems were found"

    def __init__(self, problems: Iterable[Problem], heading: str | None = None) -> None:
        self.problems = tuple(problems)
        if not self.problems:
            raise ValueError(f"{type(self).__name__} without a problem")
        self.heading = heading or self.heading
        super().__init__("\n".join([f"{self.heading}:", *(f"  - {problem}" for problem in self.problems)]))


class SettingsError(ProblemsError):
    """Environment variables that are missing, malformed or contradict each other."""

    heading = "the settings are not right"


class KeyPairError(ProblemsError):
    """A private key that cannot be used with Snowflake."""

    heading = "the Snowflake private key cannot be used"


class TenantError(ProblemsError):
    """A folder under `tenants/` that cannot be served."""

    heading = "the tenant cannot be served"


class ManifestError(ProblemsError):
    """A manifest that is missing, unreadable or cannot be made."""

    heading = "the dbt manifest is not usable"


class ContainerError(ProblemsError):
    """A container that could not be started, or did not end by itself.

    Attributes:
        kind: which of the ways in which that can be.
    """

    heading = "the container did not do its work"

    def __init__(self, kind: ContainerFailure, problem: Problem) -> None:
        super().__init__([problem])
        self.kind = kind


class HostError(ProblemsError):
    """A process that could not be started, or ended when it should not have."""

    heading = "a process is not running"


class RunPlaceError(ProblemsError):
    """A run that cannot be executed where its tenant asks for it."""

    heading = "the run cannot be executed there"


class DeployError(ProblemsError):
    """A deploy, or a change of what Render holds, that cannot be begun or gone on with."""

    heading = "the deploy cannot be done"


class RenderError(DeployError):
    """An answer of Render other than the one that was asked for, or none.

    Attributes:
        status: the HTTP status; None when there was no answer, so that nobody knows what Render did.
    """

    heading = "Render refused"

    def __init__(self, problem: Problem, status: int | None) -> None:
        super().__init__([problem])
        self.status = status


class NotificationError(ProblemsError):
    """Somebody who is to be told of a failure could not be."""

    heading = "somebody was not told"


class AccessFileError(ProblemsError):
    """A file of users and tokens that cannot be read, or a change of it that cannot be made."""

    heading = "the access file is not right"


class DbtCloudError(ProblemsError):
    """An answer of dbt Cloud other than the one that was asked for, or none.

    Attributes:
        status: the HTTP status; None when there was no answer, so that nobody knows what dbt Cloud did.
    """

    heading = "dbt Cloud does not do what is asked"

    def __init__(self, problem: Problem, status: int | None = None) -> None:
        super().__init__([problem])
        self.status = status
