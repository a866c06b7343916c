"""Who is told: the Apprise URLs that a tenant's variables hold, and the sending of one message.

A URL is a secret as a whole, so that nothing here shows any part of it: a receiver is called by its variable.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from dagster_apollo.errors import NotificationError, Problem, SettingsError
from dagster_apollo.settings import prefix
from dagster_apollo.tenant import Tenant

if TYPE_CHECKING:
    import apprise

# What a chat takes as one message; a person reads the rest where the link leads. Services that take less say so
# (Discord 2000, SMS 160); title, marks and the note of what was cut want room.
_LONGEST_TEXT = 3000
_MARGIN = 100
_STATUS = re.compile(r"error=(\d{3})\b")
Kind = Literal["failure", "warning"]


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        title: one line.
        text: the rest, plain.
        kind: how loud it is.
    """

    title: str
    text: str
    kind: Kind


@dataclass(frozen=True)
class Receiver:
    """Somebody who is told.

    Attributes:
        variable: the variable that holds the URL, as it is set.
        failed_runs: whether a run that failed is told.
        failed_checks: whether a check that failed is told.
    """

    variable: str
    failed_runs: bool
    failed_checks: bool
    _url: str = field(repr=False)

    def send(self, message: Message) -> None:
        """Deliver a message.

        Raises:
            NotificationError: when it was not taken; nothing of the URL is in it.
        """
        logger = logging.getLogger("apprise")
        said = _Statuses()
        before = logger.propagate, logger.level
        logger.addHandler(said)
        logger.propagate = False  # what it logs may hold the URL
        logger.setLevel(logging.WARNING)
        try:
            service = _service(self._url)
            taken = bool(service and _notify(service, message))
        except Exception as error:  # a plugin's own: its text may hold the URL
            said.found.append(type(error).__name__)
            taken = False
        finally:
            logger.removeHandler(said)
            logger.propagate, logger.level = before
        if not taken:
            because = f" ({said.found[-1]})" if said.found else ""
            remedy = "It is tried again; see that the service is there and the URL still right."
            raise NotificationError([Problem(self.variable, f"its receiver did not take a message{because}", remedy)])


def _notify(service: apprise.NotifyBase, message: Message) -> bool:
    """Send as much as the service takes in one message: Apprise would send all of it, and be refused for ever."""
    from apprise import OverflowMode

    longest = max(0, min(_LONGEST_TEXT, int(service.body_maxlen) - len(message.title) - _MARGIN))
    cut = f"\n… {len(message.text) - longest} characters more"
    text = message.text if len(message.text) <= longest else message.text[:longest] + cut
    taken = service.notify(title=message.title, body=text, notify_type=message.kind, overflow=OverflowMode.TRUNCATE)
    return bool(taken)


class _Statuses(logging.Handler):
    """The HTTP statuses among what Apprise logs; the rest is dropped."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found += [f"HTTP {status}" for status in _STATUS.findall(record.getMessage())]


def receivers(tenant: Tenant, environ: Mapping[str, str], *, local: bool) -> list[Receiver]:
    """Who is told of a tenant's failures.

    Args:
        tenant: whose.
        environ: the tenant's variables.
        local: on a laptop, where a variable that is not set leaves out its receiver.

    Raises:
        SettingsError: with every variable that is not set or holds no Apprise URL.
    """
    found, problems = [], []
    for entry in tenant.config.notifications:
        own = f"{prefix(tenant.name)}{entry.url_variable}"
        variable = own if environ.get(own, "").strip() else entry.url_variable
        url = environ.get(variable, "").strip()
        form = "Give an Apprise URL: https://github.com/caronc/apprise/wiki"
        if not url:
            if not local:
                problems.append(Problem(own, "is not set, and tenant.yaml says who is told of failures by it", form))
        elif _service(url) is None:
            problems.append(Problem(variable, "is no URL that Apprise knows", form))
        else:
            found.append(Receiver(variable, "run_failure" in entry.about, "check_failure" in entry.about, url))
    if problems:
        raise SettingsError(problems, f"{tenant.name}: nobody would be told of failures")
    return found


def _service(url: str) -> apprise.NotifyBase | None:
    import apprise  # a tenth of a second, for tenants alone that tell somebody

    # Several URLs in one variable are one receiver too many: half of them told is neither told nor not.
    return apprise.Apprise.instantiate(url, suppress_exceptions=True)
