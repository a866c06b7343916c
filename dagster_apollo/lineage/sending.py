"""Sending OpenLineage's events beside a run: in a thread, in order, each with a short time-out, and never for long.

A receiver that does not answer is given up for what is sent at the time; what was lost is counted and said by the
caller.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import requests
from openlineage.client.event_v2 import RunEvent
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

# Seconds for one event; receivers answer in milliseconds.
REQUEST_TIMEOUT_SECONDS = 3.0
# Seconds that the end of a run waits for what is still to be sent.
CLOSE_TIMEOUT_SECONDS = 10.0

Make = Callable[[], Sequence[RunEvent]]


@dataclass(frozen=True)
class Receiver:
    """Who collects lineage.

    Attributes:
        url: `http://host:port`, without a secret in it.
        api_key: its key.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)


class Sender:
    """Sends events to a receiver until it is closed.

    Attributes:
        lost: how many events were not received.
        reason: why the first of them was not.
    """

    def __init__(self, receiver: Receiver) -> None:
        token = ApiKeyTokenProvider({"apiKey": receiver.api_key}) if receiver.api_key else TokenProvider({})
        # Not tried again: the next event tells as well whether somebody is there.
        config = HttpConfig(
            f"{receiver.url.rstrip('/')}/", auth=token, timeout=REQUEST_TIMEOUT_SECONDS, retry={"total": 0}
        )
        self._transport = HttpTransport(config)
        logging.getLogger("openlineage").setLevel(logging.CRITICAL)  # it would tell of each loss, with a traceback
        self._waiting: queue.Queue[Make | None] = queue.Queue()
        self._away = False
        self.lost = 0
        self.reason = ""
        self._thread = threading.Thread(target=self._work, name="openlineage", daemon=True)
        self._thread.start()

    def send(self, make: Make) -> None:
        """Have events made and sent, after those of earlier calls; returns at once and never raises."""
        self._waiting.put(make)

    def close(self) -> None:
        """Wait a little for what is still to be sent; afterwards `lost` and `reason` are final."""
        self._waiting.put(None)
        self._thread.join(CLOSE_TIMEOUT_SECONDS)
        if self._thread.is_alive():
            self._lose(max(1, self._waiting.qsize()), f"they took longer than {CLOSE_TIMEOUT_SECONDS:.0f} seconds")
        with contextlib.suppress(Exception):
            self._transport.close()

    def _work(self) -> None:
        while make := self._waiting.get():
            try:
                events = make()
            except Exception as error:  # lineage is beside the run: nothing in it may end one
                self._lose(1, f"an event could not be made: {type(error).__name__}: {error}")
                continue
            self._away = False
            for event in events:
                self._emit(event)

    def _emit(self, event: RunEvent) -> None:
        if self._away:
            self._lose(1, self.reason)
            return
        began = time.monotonic()
        try:
            self._transport.emit(event)
        except requests.HTTPError as error:
            self._lose(1, f"it answered {error.response.status_code if error.response is not None else 'no status'}")
        except requests.RequestException:
            waited = time.monotonic() - began >= REQUEST_TIMEOUT_SECONDS
            self._away = True
            self._lose(1, "it did not answer in time" if waited else "nobody answers there")
        except Exception as error:
            self._lose(1, f"an event could not be sent: {type(error).__name__}")

    def _lose(self, count: int, reason: str) -> None:
        self.lost += count
        self.reason = self.reason or reason
