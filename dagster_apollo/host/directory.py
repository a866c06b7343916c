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


@dataclass(frozen=True)
class Location:
    """Where one tenant, or a part of it, is served.

    Attributes:
        name: the code location: the tenant, or one of its several (`locations.py`).
        port: its gRPC server's, on the code host.
        ready: whether that server accepts connections now.
    """

    name: str
    port: int
    ready: bool = False


@dataclass(frozen=True)
class Directory:
    """Everything that the code host says of itself.

    Attributes:
        locations: those of every tenant, whether it can be served or not.
        instance: the id that Dagster keeps in its database; all roles must see the same. Empty: a laptop's SQLite;
            None: it waits for its database.
        version, release, image: what runs there: the package's version, what the image was built from, its digest.
        draining: whether it was told to end and takes no new run.
    """

    locations: tuple[Location, ...]
    instance: str | None = None
    version: str = ""
    release: str | None = None
    image: str | None = None
    draining: bool = False

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
                Location(str(entry["name"]), int(entry["port"]), bool(entry.get("ready", True)))
                for entry in document["locations"]
            )
            known = {name: document.get(name) for name in ("instance", "release", "image")}
            draining = bool(document.get("draining", False))
            return cls(locations, version=str(document.get("version", "")), draining=draining, **known)
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


def fetch(host: str, port: int, timeout_seconds: float = ANSWER_TIMEOUT_SECONDS) -> Directory:
    """Ask the code host.

    Raises:
        HostError: it does not answer, or not with a directory.
    """
    where = f"the code host at {host}:{port}"
    shown = f"[{host}]" if ":" in host else host
    # It is in the private network: a proxy in the environment has no part in it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{shown}:{port}/locations", timeout=timeout_seconds) as answer:
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
