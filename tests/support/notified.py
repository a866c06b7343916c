"""Somebody who is told of failures: an HTTP server on loopback that takes what Apprise sends to `json://`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.canned_http import canned_http

PASSWORD = "canary-of-a-receiver"


@dataclass
class Notified:
    """What somebody was told.

    Attributes:
        url: an Apprise URL with a password in it.
        messages: title, text and kind of every message that was taken.
        status: what is answered.
        refused: how many messages were not taken.
    """

    url: str = ""
    messages: list[tuple[str, str, str]] = field(default_factory=list)
    status: int = 200
    refused: int = 0

    @property
    def titles(self) -> list[str]:
        """The first line of each."""
        return [title for title, _, _ in self.messages]


@contextmanager
def being_notified() -> Iterator[Notified]:
    """Listens until the block ends."""
    notified = Notified()

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if notified.status == 200:
            notified.messages.append((body["title"], body["message"], body["type"]))
        else:
            notified.refused += 1
        return notified.status, {}

    with canned_http(answer) as port:
        notified.url = f"json://somebody:{PASSWORD}@127.0.0.1:{port}/told"
        yield notified
