"""Sessions: what a signed cookie says of who is logged in, and how long that holds.

The cookie carries the session; the server keeps only which sessions were ended before their time
(`ended_sessions.py`). So a session outlives a restart, and either of two copies of a webserver takes it. Who that
person is here now is asked anew at every request (`identify.py`): the cookie says who came in, not what they may do.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from itsdangerous import BadData, URLSafeSerializer, URLSafeTimedSerializer

from dagster_apollo.access.identity.rules import Identity

IDLE_SECONDS = 8 * 3600
LIFETIME_SECONDS = 24 * 3600
# A cookie is written again when it is this old, not with every answer.
_RENEW_SECONDS = 300
# A login by a provider, from start to callback, and a login page that was left open.
FLOW_SECONDS, FORM_SECONDS = 600, 12 * 3600
# A browser that was let in before is told from strangers this long.
BROWSER_SECONDS = 180 * 86400


@dataclass(frozen=True)
class Session:
    """Somebody's session.

    Attributes:
        id: random; what is ended at a logout.
        how: by a password of the access file, or by the provider.
        identity: who came in.
        key: of a password session: the fingerprint of the hash, so that a new password ends it.
        started, seen: seconds since 1970.
    """

    id: str
    how: Literal["password", "oidc"]
    identity: Identity
    key: str | None
    started: float
    seen: float

    @property
    def ends(self) -> float:
        """When it ends at the latest, in seconds since 1970."""
        return self.started + LIFETIME_SECONDS


class Sessions:
    """Signs and reads everything that a browser keeps for us.

    Args:
        secret: APOLLO_SESSION_SECRET; each kind of cookie is signed with a key of its own, derived from it.
        clock: seconds since 1970.
    """

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._secret = secret

    def start(self, how: Literal["password", "oidc"], identity: Identity, key: str | None = None) -> Session:
        """A new session."""
        now = self.clock()
        return Session(secrets.token_urlsafe(24), how, identity, key, now, now)

    def cookie(self, session: Session) -> str:
        """The cookie's value: signed, not encrypted, so no secret is in it."""
        return self._signed("session").dumps(asdict(session))

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie; None: forged, or over."""
        try:
            content = self._signed("session").loads(cookie)
            identity = Identity(**{**content["identity"], "groups": tuple(content["identity"]["groups"])})
            session = Session(**{**content, "identity": identity})
            is_over = self.is_over(session)
        except (BadData, KeyError, TypeError, ValueError):
            return None
        return None if is_over else session

    def is_over(self, session: Session) -> bool:
        """Whether it is too old, or was not used for too long."""
        now = self.clock()
        return now >= session.ends or now >= session.seen + IDLE_SECONDS

    def renewed(self, session: Session) -> Session | None:
        """The session as seen now; None when the cookie is young enough as it is."""
        now = self.clock()
        return replace(session, seen=now) if now >= session.seen + _RENEW_SECONDS else None

    def form_token(self, purpose: str, bound_to: str) -> str:
        """What a form of ours carries, so that no other page can post it.

        Args:
            bound_to: what the browser proves besides: its form cookie, or its session's id.
        """
        return self._timed(f"form.{purpose}").dumps(_digest(bound_to))

    def is_form_token(self, token: str, purpose: str, bound_to: str) -> bool:
        """Whether a form was one of ours, for this browser, and is not too old."""
        try:
            return secrets.compare_digest(
                str(self._timed(f"form.{purpose}").loads(token, max_age=FORM_SECONDS)), _digest(bound_to)
            )
        except BadData:
            return False

    def flow_cookie(self, flow: dict[str, Any]) -> str:
        """What a login by the provider has to remember."""
        return self._timed("flow").dumps(flow)

    def read_flow(self, cookie: str) -> dict[str, Any] | None:
        """The same, at the callback."""
        try:
            flow = self._timed("flow").loads(cookie, max_age=FLOW_SECONDS)
        except BadData:
            return None
        return flow if isinstance(flow, dict) else None

    def browser_cookie(self, name: str) -> str:
        """That this browser was let in by this name before (OWASP's device cookie)."""
        return self._timed("browser").dumps([_digest(name), secrets.token_urlsafe(12)])

    def known_browser(self, cookie: str, name: str) -> str | None:
        """The browser's own mark, when it was let in by this name before."""
        try:
            of, mark = self._timed("browser").loads(cookie, max_age=BROWSER_SECONDS)
        except (BadData, ValueError, TypeError):
            return None
        return str(mark) if of == _digest(name) else None

    def _signed(self, purpose: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._secret, f"apollo.{purpose}", signer_kwargs=_SIGNER)

    def _timed(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._secret, f"apollo.{purpose}", signer_kwargs=_SIGNER)


_SIGNER = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}


def fingerprint(password_hash: str) -> str:
    """What tells one password hash from another, and nothing else."""
    return _digest(password_hash)[:22]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
