"""Whether a login is accepted: the key-pair token, the user and the role.

A refusal never says which part of a token was wrong, as in Snowflake: an unknown user, a key that is no longer
registered and a bad signature all get the same code.
Source: https://docs.snowflake.com/en/developer-guide/sql-api/authenticating and the connector's own texts.
"""

from __future__ import annotations

import base64
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from local_snowflake.account import Account
from local_snowflake.errors import LoginError

LONGEST_TOKEN_SECONDS = 3600
"""Snowflake accepts a key-pair token for at most an hour after it was issued."""


def authenticate(account: Account, data: dict[str, Any], role: str | None) -> tuple[str, str]:
    """The user and the role of a login request.

    Args:
        data: the `data` object of the connector's login request.
        role: the role that the connection asks for; None or "" is the user's default role.

    Raises:
        LoginError: 390100 not a key pair, 390144 the token, 390101 a disabled user, 390189 the role.
    """
    name = str(data.get("LOGIN_NAME") or "").upper()
    if str(data.get("AUTHENTICATOR") or "SNOWFLAKE").upper() != "SNOWFLAKE_JWT":
        raise LoginError("390100", "Incorrect username or password was specified.")
    try:
        verify_token(account, str(data.get("TOKEN") or ""), str(data.get("ACCOUNT_NAME") or ""), name)
    except Exception as error:  # whatever is wrong with a token that anyone may send, the answer is one
        raise LoginError("390144", f"JWT token is invalid. [{uuid.uuid4()}]") from error
    user = account.user(name)
    if user.disabled:
        raise LoginError("390101", "User access disabled. Contact your local system administrator.")
    role = (role or user.properties.get("DEFAULT_ROLE") or "PUBLIC").strip('"').upper()
    if role not in account.roles or role not in account.roles_of(name):
        raise LoginError(
            "390189",
            f"Role '{role}' specified in the connect string does not exist or not authorized. Contact your local "
            "system administrator, or attempt to login with another role, e.g. PUBLIC.",
        )
    return name, role


def verify_token(account: Account, token: str, account_name: str, user: str) -> None:
    """Check signature, issuer, subject, expiry and lifetime of a key-pair token against the user's two slots.

    Raises:
        Exception: of whatever kind the wrong part gives; the caller must not tell them apart for the client.
    """
    if jwt.get_unverified_header(token).get("alg") != "RS256":
        raise ValueError("the algorithm is not RS256")
    subject = f"{account.name}.{user}"
    claimed = jwt.decode(token, options={"verify_signature": False})
    if claimed.get("sub") != subject or account_name.upper().split(".")[0] != account.name:
        raise ValueError("issued for another account or user")
    registered = [
        key for key in account.user(user).keys.values() if claimed.get("iss") == f"{subject}.{key.fingerprint}"
    ]
    if not registered:
        raise ValueError("no registered key has the issuer's fingerprint")
    public_key = load_der_public_key(base64.b64decode(registered[0].der))
    if not isinstance(public_key, RSAPublicKey):
        raise ValueError("the registered key is not RSA")
    claims = jwt.decode(
        token,
        public_key,
        algorithms=["RS256"],
        options={"require": ["exp", "iat", "iss", "sub"], "verify_aud": False},
    )
    if claims["exp"] - claims["iat"] > LONGEST_TOKEN_SECONDS:
        raise ValueError("the lifetime is over an hour")
