"""What the code host tells webserver and daemon: which tenants it serves, where, and of which instance it is.

One JSON document, made and read here, so that both sides agree. Nothing of Dagster and nothing beyond the standard
library: the code host's first process, which holds it, stays a few megabytes.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from dagster_apollo.errors import HostError, Problem, SettingsError

DEFAULT_PORT = 4000
ANSWER_TIMEOUT_SECONDS = 5.0
# So long the code host keeps a question about changes open when there is none.
POLL_SECONDS = 25.0


@dataclass(frozen=True)
class Location:
    """Where one tenant, or a part of it, is served.

    Attributes:
        name: the code location: the tenant, or one of its several (`locations.py`).
        port: the front's, on the code host.
        ready: whether it can be loaded now.
        server_id: what tells what it serves now from what it served before; None: nothing yet.
    """

    name: str
    port: int
    ready: bool = False
    server_id: str | None = None


@dataclass(frozen=True)
class Directory:
    """Everything that the code host says of itself.

    Attributes:
        locations: those of every tenant, whether it can be served or not.
        instance: the id that Dagster keeps in its database; all roles must see the same. Empty: a laptop's SQLite;
            None: it waits for its database.
        version, release, image: what runs there: the package's version, what the image was built from, its digest.
        draining: whether it was told to end and takes no new run.
        seen: a number that is another with every change, and after every start.
        started: which start of the code host it is of: another one is another code host, at the same address.
    """

    locations: tuple[Location, ...]
    instance: str | None = None
    version: str = ""
    release: str | None = None
    image: str | None = None
    draining: bool = False
    seen: int = 0
    started: str = ""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Directory:
        """Read a directory; what a newer code host adds is passed over.

        Raises:
            ValueError: it is not one.
        """
        try:
            document: Mapping[str, Any] = json.loads(content)
            locations = tuple(
                Location(str(entry["name"]), int(entry["port"]), bool(entry.get("ready", True)), entry.get("server_id"))
                for entry in document["locations"]
            )
            known = {name: document.get(name) for name in ("instance", "release", "image")}
            draining, seen = bool(document.get("draining", False)), int(document.get("seen", 0))
            version, started = str(document.get("version", "")), str(document.get("started", ""))
            return cls(locations, version=version, draining=draining, seen=seen, started=started, **known)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a directory of code locations: {error}") from None


def split_address(address: str | None) -> tuple[str, int]:
    """Host and port of APOLLO_CODE_HOST.

    Raises:
        SettingsError: it is missing or not `host:port`.
    """
    remedy = f"Set it to the code host's `host:port`, such as `dagster-code:{DEFAULT_PORT}`."
    if not address:
        raise SettingsError([Problem("APOLLO_CODE_HOST", "is not set", remedy)])
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.path or parts.query or parts.username:
        raise SettingsError([Problem("APOLLO_CODE_HOST", f"{address!r} is not `host:port`", remedy)])
    return host, port or DEFAULT_PORT


def fetch(host: str, port: int, timeout_seconds: float = ANSWER_TIMEOUT_SECONDS, seen: int | None = None) -> Directory:
    """Ask the code host.

    Args:
        host, port: where it answers.
        timeout_seconds: what the answer is waited for; with `seen`, beyond POLL_SECONDS.
        seen: what was heard last: it answers once there is something else, or after POLL_SECONDS.

    Raises:
        HostError: it does not answer, or not with a directory.
    """
    where = f"the code host at {host}:{port}"
    shown = f"[{host}]" if ":" in host else host
    # It is in the private network: a proxy in the environment has no part in it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        asked = "/locations" if seen is None else f"/locations?seen={seen}"
        patience = timeout_seconds + (POLL_SECONDS if seen is not None else 0.0)
        with opener.open(f"http://{shown}:{port}{asked}", timeout=patience) as answer:
            return Directory.from_json(answer.read())
    except urllib.error.HTTPError as error:
        remedy = "Check that APOLLO_CODE_HOST names the code host and nothing else."
        raise HostError([Problem(where, f"answers with {error.code}", remedy)]) from None
    except OSError as error:
        told = getattr(error, "reason", error)
        remedy = "See whether `dagster-code` runs, and its log."
        raise HostError([Problem(where, f"does not answer: {told}", remedy)]) from None
    except ValueError as error:
        remedy = "Check that APOLLO_CODE_HOST names the code host, of the same release as this process."
        raise HostError([Problem(where, f"answers with something else: {error}", remedy)]) from None
