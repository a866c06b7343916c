"""The exchange with an OpenID Connect provider: authorization code, PKCE, state and nonce, by authlib.

Out comes an `Identity`, from claims whose signature, issuer, audience, time and nonce were checked. What the claims
mean is `claims.py`, who may come in `rules.py`, the routes are `sign_in.py`. What a flow has to remember is a
dictionary that the caller keeps in a signed cookie: two copies of the webserver need not know each other.
"""

from __future__ import annotations

from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

from dagster_apollo.access.identity.claims import groups_are_left_out, identity_of, label_of
from dagster_apollo.access.identity.rules import Identity

_TIMEOUT_SECONDS = 10.0
_CLOCK_LEEWAY_SECONDS = 60
# Signatures that need the provider's private key; a provider may list `none` or HS256 for other applications.
_SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class ProviderError(Exception):
    """A login that the provider did not complete.

    Attributes:
        reason: a word or two for the audit; nothing that was sent.
        advice: what a person is told.
        status: the HTTP status to answer with.
    """

    def __init__(self, reason: str, advice: str, status: int) -> None:
        super().__init__(reason)
        self.reason, self.advice, self.status = reason, advice, status


class Provider:
    """One application at one provider.

    Args:
        issuer: as its discovery document says it, `https://accounts.google.com`.
        redirect_uri: this webserver's callback, as registered there.
        wants_groups: whether any rule is about a group.
    """

    def __init__(
        self, issuer: str, client_id: str, client_secret: str, redirect_uri: str, *, wants_groups: bool
    ) -> None:
        self.issuer = issuer.rstrip("/")
        self.label = label_of(self.issuer)
        self._redirect_uri = redirect_uri
        self._wants_groups = wants_groups
        self._client = OAuth().register(
            name="login",
            client_id=client_id,
            client_secret=client_secret,
            server_metadata_url=f"{self.issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "timeout": _TIMEOUT_SECONDS,
            },
        )

    async def start(self, request: Request, flow: dict[str, Any]) -> Response:
        """The redirect to the provider.

        Args:
            flow: is filled with what `finish` needs: state, nonce and PKCE verifier.

        Raises:
            ProviderError: when the provider does not answer, or not as one.
        """
        metadata = await self._metadata()
        scope = "openid email profile"
        # Okta and others give groups for a scope of that name, which Google and Entra would refuse.
        if self._wants_groups and "groups" in metadata.get("scopes_supported", ()):
            scope += " groups"
        request.scope["session"] = flow
        answer: Response = await self._client.authorize_redirect(request, self._redirect_uri, scope=scope)
        return answer

    async def finish(self, request: Request, flow: dict[str, Any]) -> Identity:
        """Somebody, at the callback.

        Args:
            flow: as `start` filled it.

        Raises:
            ProviderError: when the provider refused, or anything about its answer is wrong.
        """
        if request.query_params.get("error"):
            raise ProviderError("refused by the provider", f"{self.label} did not let you in.", 403)
        await self._metadata()
        request.scope["session"] = flow
        options = {
            "iss": {"essential": True, "value": self._client.server_metadata["issuer"]},
            "aud": {"essential": True, "value": self._client.client_id},
        }
        try:
            token = await self._client.authorize_access_token(
                request, claims_options=options, leeway=_CLOCK_LEEWAY_SECONDS
            )
            claims = token.get("userinfo")
            if not claims or not claims.get("sub"):
                raise ProviderError("no ID token", f"{self.label} did not say who you are.", 502)
            return identity_of(await self._completed(dict(claims), token), self.issuer)
        except httpx2.HTTPError as error:
            raise self._silent() from error
        except (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError) as error:
            reason = f"the answer is not right ({type(error).__name__})"
            raise ProviderError(reason, "That did not work, or took too long. Try again.", 400) from error

    async def _completed(self, claims: dict[str, Any], token: dict[str, Any]) -> dict[str, Any]:
        """The claims, with what a provider gives only at its userinfo endpoint (Okta's thin ID tokens)."""
        if groups_are_left_out(claims) and self._wants_groups and not claims.get("roles"):
            advice = "You are in more groups than Microsoft tells an application. Ask for an application role instead."
            raise ProviderError("groups left out of the token", advice, 403)
        is_whole = claims.get("email") and (claims.get("groups") or not self._wants_groups)
        if is_whole or not self._client.server_metadata.get("userinfo_endpoint"):
            return claims
        more = await self._client.userinfo(token=token)
        if more.get("sub") != claims["sub"]:
            raise ProviderError("userinfo is about somebody else", "That did not work. Try again.", 400)
        return {**more, **claims}

    async def _metadata(self) -> dict[str, Any]:
        try:
            metadata: dict[str, Any] = await self._client.load_server_metadata()
            named = str(metadata["issuer"])
            _ = metadata["authorization_endpoint"], metadata["token_endpoint"], metadata["jwks_uri"]
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            self._client.server_metadata.clear()
            raise self._silent() from error
        if named.rstrip("/") != self.issuer:
            self._client.server_metadata.clear()
            advice = "The identity provider calls itself otherwise than OIDC_ISSUER. Ask an administrator."
            raise ProviderError("another issuer than OIDC_ISSUER", advice, 502)
        offered = metadata.get("id_token_signing_alg_values_supported") or ()
        metadata["id_token_signing_alg_values_supported"] = [name for name in _SIGNATURES if name in offered]
        return metadata

    def _silent(self) -> ProviderError:
        return ProviderError("the provider does not answer", f"{self.label} does not answer. Try again soon.", 502)
