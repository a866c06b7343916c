"""A provider for a test that says in its ID token what the test tells it to, signed as the test tells it.

It checks nothing: what a real provider enforces is shown with dex (`oidc.py`). Here it is our side that has to refuse.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.guarded_app import served
from tests.support.ports import free_port

CLIENT_ID, CLIENT_SECRET = "dagster", "the-secret-of-this-application-here"
KEY = RSAKey.generate_key(2048, parameters={"kid": "one"})
ANOTHER_KEY = RSAKey.generate_key(2048, parameters={"kid": "one"})


@dataclass
class LyingProvider:
    """What it says.

    Attributes:
        issuer: its address.
        nonce: of the request that is answered; the test reads it from the redirect.
        claims: over those of an honest token; None leaves one out.
        key, algorithm: what signs.
        userinfo: what its userinfo endpoint says; None: there is no such endpoint.
        tokens: over the answer of its token endpoint; None leaves one out.
    """

    issuer: str
    nonce: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: KEY)
    algorithm: str = "RS256"
    userinfo: dict[str, Any] | None = None
    tokens: dict[str, Any] = field(default_factory=dict)

    def id_token(self) -> str:
        """The ID token."""
        now = int(time.time())
        honest = {
            "iss": self.issuer, "aud": CLIENT_ID, "sub": "u-1", "iat": now, "exp": now + 600, "nonce": self.nonce,
            "email": "bob@example.com", "email_verified": True,
        }  # fmt: skip
        claims = {name: value for name, value in {**honest, **self.claims}.items() if value is not None}
        return jwt.encode({"alg": self.algorithm, "kid": "one"}, claims, self.key, algorithms=[self.algorithm])

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self._metadata),
            Route("/keys", lambda _: JSONResponse({"keys": [KEY.as_dict(private=False)]})),
            Route("/token", self._token, methods=["POST"]),
            Route("/userinfo", lambda _: JSONResponse(self.userinfo)),
        ]

    async def _metadata(self, _: Request) -> Response:
        endpoints = {"authorization_endpoint": "/auth", "token_endpoint": "/token", "jwks_uri": "/keys"}
        if self.userinfo is not None:
            endpoints["userinfo_endpoint"] = "/userinfo"
        return JSONResponse(
            {
                "issuer": self.issuer,
                "id_token_signing_alg_values_supported": ["none", "HS256", "RS256"],
                **{name: self.issuer + path for name, path in endpoints.items()},
            }
        )

    async def _token(self, _: Request) -> Response:
        honest = {"access_token": "a", "token_type": "Bearer", "id_token": self.id_token()}
        return JSONResponse({name: value for name, value in {**honest, **self.tokens}.items() if value is not None})


@contextmanager
def running_liar() -> Iterator[LyingProvider]:
    """Run one."""
    port = free_port()
    provider = LyingProvider(f"http://127.0.0.1:{port}")
    with served(Starlette(routes=provider.routes()), port):
        yield provider


def shared_secret() -> OctKey:
    """The application's secret as a key: what a token is signed with where HS256 is believed."""
    return OctKey.import_key(CLIENT_SECRET)
