"""A real OpenID Connect provider for a test: dex, on a free loopback port, gone afterwards.

It enforces PKCE, redirect URI, client secret and the single use of codes. Its `local` connector is a login form with an
e-mail address and no groups; its `proxy` connector takes the identity from headers that the test's client sends, so
that any address and any groups can log in.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.ports import free_port
from tests.support.tools import required

START_TIMEOUT_SECONDS = 30.0
EMAIL, PASSWORD = "ada@example.com", "a long one for dex"
# bcrypt of PASSWORD, as dex keeps it.
_PASSWORD_HASH = "$2b$10$LzPOvCdjCdFYUOeNYlhPbuSePIHfZwefDxwnbr0sqLv9nZxpch4kO"


@dataclass(frozen=True)
class Dex:
    """A running dex, and the application that is registered there."""

    issuer: str
    client_id: str = "dagster"
    client_secret: str = field(default="secret-of-the-application", repr=False)

    def settings(self) -> dict[str, str]:
        """What a webserver is given."""
        return {
            "OIDC_ISSUER": self.issuer,
            "OIDC_CLIENT_ID": self.client_id,
            "OIDC_CLIENT_SECRET": self.client_secret,
        }


@contextmanager
def running_dex(folder: Path, redirect_uris: Sequence[str], port: int | None = None) -> Iterator[Dex]:
    """Run dex.

    Raises:
        MissingPart: when this machine has none.
    """
    port = port or free_port()
    dex = Dex(f"http://127.0.0.1:{port}/dex")
    configuration = {
        "issuer": dex.issuer,
        "storage": {"type": "memory"},
        "web": {"http": f"127.0.0.1:{port}"},
        "oauth2": {"skipApprovalScreen": True, "responseTypes": ["code"]},
        "staticClients": [
            {
                "id": dex.client_id,
                "secret": dex.client_secret,
                "name": "Dagster",
                "redirectURIs": list(redirect_uris),
            }
        ],
        "enablePasswordDB": True,
        "staticPasswords": [{"email": EMAIL, "hash": _PASSWORD_HASH, "username": "ada", "userID": "u-ada"}],
        "connectors": [{"type": "authproxy", "id": "proxy", "name": "Proxy", "config": {}}],
    }
    file = folder / "dex.json"  # JSON is YAML
    file.write_text(json.dumps(configuration))
    with (folder / "dex.log").open("wb") as log:
        process = subprocess.Popen([required("dex"), "serve", str(file)], stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_it_answers(f"{dex.issuer}/.well-known/openid-configuration", process, folder / "dex.log")
            yield dex
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False, timeout=1).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise AssertionError(f"dex did not start ({process.poll()}):\n{log.read_text(errors='replace')[-2000:]}")
