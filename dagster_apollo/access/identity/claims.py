"""What an identity provider's claims amount to: which address, membership and groups may be relied on.

Pure functions from claims to an `Identity`, with what is peculiar to Google, Okta and Entra; the exchange with the
provider, and the check of signature, issuer, audience and nonce, is `oidc.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from dagster_apollo.access.identity.rules import Identity

GOOGLE = "https://accounts.google.com"
# Microsoft's public, US government and Chinese clouds.
_ENTRA_HOSTS = ("login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn")
_FALSE = (False, "false", "False", 0, "0")


def is_entra(issuer: str) -> bool:
    """Whether an issuer is Microsoft Entra ID."""
    return urlsplit(issuer).hostname in _ENTRA_HOSTS


def is_entra_for_anybody(issuer: str) -> bool:
    """Whether an issuer is Entra's for every tenant: there anybody's administrator writes any e-mail address."""
    return is_entra(issuer) and urlsplit(issuer).path.split("/")[1] in ("common", "organizations", "consumers", "")


def label_of(issuer: str) -> str:
    """What people call a provider."""
    host = urlsplit(issuer).hostname or ""
    if issuer.rstrip("/") == GOOGLE:
        return "Google"
    if is_entra(issuer):
        return "Microsoft"
    return "Okta" if host.endswith((".okta.com", ".oktapreview.com", ".okta-emea.com")) else "single sign-on"


def identity_of(claims: Mapping[str, Any], issuer: str) -> Identity:
    """Somebody, from the claims of an ID token that has been checked.

    An e-mail address counts unless the provider says that it is not verified. The domain is that of the address, but

    * at Google it is `hd`, the Workspace: an account of nobody's organization may carry an address of one
      (https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload);
    * at Entra a guest, whose `idp` is another than the issuer, is a member of no domain, and the address may stand in
      `preferred_username` (https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference).

    Groups are those of `groups`, and `roles`, where Entra puts the roles of an application.
    """
    email = _text(claims.get("email"))
    if email is None and is_entra(issuer):
        email = _text(claims.get("preferred_username"))
    if email is not None and (email.count("@") != 1 or not email.isascii() or email.strip("@") != email):
        email = None
    if any(claim in claims and claims[claim] in _FALSE for claim in ("email_verified", "xms_edov")):
        email = None
    email = email.casefold() if email else None
    domain = email.partition("@")[2] if email else None
    if issuer.rstrip("/") == GOOGLE:
        workspace = _text(claims.get("hd"))
        domain = workspace.casefold() if workspace and email else None
    elif is_entra(issuer) and claims.get("idp") not in (None, claims.get("iss")):
        domain = None
    # The name is audited: never one that people may choose for themselves.
    name = email or f"{claims['sub']} at {urlsplit(issuer).hostname}"
    return Identity(name, email, domain, (*_texts(claims.get("groups")), *_texts(claims.get("roles"))))


def groups_are_left_out(claims: Mapping[str, Any]) -> bool:
    """Whether Entra left the groups out of the token, because there are more than 200 of them."""
    names = claims.get("_claim_names")
    return bool(claims.get("hasgroups")) or (isinstance(names, Mapping) and "groups" in names)


def _text(value: object) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() else None


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(entry for entry in value if isinstance(entry, str)) if isinstance(value, list) else ()
