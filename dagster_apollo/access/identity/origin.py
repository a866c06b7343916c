"""Whether a request comes from a page of ours: what closes CSRF, and DNS rebinding where there is no login.

Browsers say where a request comes from (`Sec-Fetch-Site`, `Origin`) and no page can forge that; programs say nothing.
Pure functions of headers; who is asked which question is `middleware.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def is_foreign(headers: Mapping[str, str], scheme: str, public_url: str | None) -> bool | None:
    """Whether a browser says that another site's page asks; None: no browser says anything.

    Args:
        headers: the request's, by lower-case names.
        scheme: of the request: http, https, ws or wss.
        public_url: the address that people type, when it is known; a proxy may have changed `Host`.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return None
    ours = {_origin(f"{scheme}://{headers.get('host', '')}")}
    if public_url:
        ours.add(_origin(public_url))
    return _origin(origin) is None or _origin(origin) not in ours


def is_loopback_host(host_header: str) -> bool:
    """Whether `Host` names this machine: a page on another name that resolves to it is refused."""
    try:
        name = urlsplit(f"//{host_header}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def is_loopback(address: str) -> bool:
    """Whether an address, or `localhost`, is reached from this machine alone."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def local_target(text: str | None) -> str:
    """Where to go after a login: a path of ours; anything else becomes `/`.

    A browser reads `//host`, `/\\host` and what has tabs or line ends in it as another address (WHATWG URL, 4.4).
    """
    if not text or len(text) > 2000 or not text.startswith("/") or text[1:2] in ("/", "\\"):
        return "/"
    if not text.isascii() or not text.isprintable() or "\\" in text:
        return "/"
    path = urlsplit(text).path
    return "/" if path.rstrip("/") in ("/login", "/logout") or path.startswith("/login/") else text


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        port = parts.port or _DEFAULT_PORTS.get(scheme)
    except ValueError:
        return None
    return (scheme, parts.hostname, port) if parts.hostname and port else None
