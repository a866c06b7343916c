"""Who asks: the user behind a request's token or session cookie, as the access file and the rules say now.

Nothing is answered here: a stranger is None, and what is wrong with a token is an exception; what either gets to see
is `middleware.py`. A session says who came in; what that person is, is looked up at every request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from dagster_apollo.access.identity.access_file import utc_now
from dagster_apollo.access.identity.access_source import AccessSource
from dagster_apollo.access.identity.ended_sessions import EndedSessions, StoreUnavailableError
from dagster_apollo.access.identity.rules import user_by_rules, user_of
from dagster_apollo.access.identity.sessions import Session, Sessions, fingerprint
from dagster_apollo.access.users import User
from dagster_apollo.fork import LoginRules

SESSION, FORM, FLOW, BROWSER = "session", "form", "flow", "browser"


@dataclass(frozen=True)
class Known:
    """Somebody who is known.

    Attributes:
        user: who.
        owner: by what open sockets are found: the session's id, or the token's name.
        session: the session; None: a token.
    """

    user: User
    owner: str
    session: Session | None = None


class TokenRefusedError(Exception):
    """A token that lets nobody in; the message says why, and is no secret."""


class Identifier:
    """Knows who asks.

    Args:
        access: the access file.
        rules: who may come in by the provider.
        has_provider: whether there is one: without, its sessions are nobody's.
        now: the time, for tokens.
    """

    def __init__(
        self,
        access: AccessSource,
        rules: LoginRules,
        sessions: Sessions,
        ended: EndedSessions,
        *,
        has_provider: bool,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._access, self._rules, self._has_provider, self._now = access, rules, has_provider, now
        self.sessions, self.ended = sessions, ended

    async def known(self, connection: HTTPConnection, cookie: str) -> Known | None:
        """Who asks; None: a stranger.

        Args:
            cookie: the name of the session's cookie.

        Raises:
            TokenRefusedError: when there is a token and it lets nobody in; then a cookie is not looked at.
            StoreUnavailableError: when nobody can say whether the session was ended.
        """
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer":
            return self._by_token(token.strip())
        session = self.sessions.read(connection.cookies.get(cookie, ""))
        return await self._by_session(session) if session else None

    async def is_still(self, known: Known) -> bool:
        """Whether somebody is still who they were when their socket was opened."""
        if known.session is None:
            entry = self._access.current().tokens.get(known.owner)
            return entry is not None and not entry.is_over(self._now()) and user_of(known.owner, entry) == known.user
        if self.sessions.clock() >= known.session.ends:  # a page that holds a socket is in use: it is not idle
            return False
        try:
            again = await self._by_session(known.session)
        except StoreUnavailableError:
            return True  # without its database Dagster has nothing to tell; asked again soon
        return again is not None and again.user == known.user

    def user_of_session(self, session: Session) -> User | None:
        """What the person of a session is now; None: nobody any more."""
        if session.how == "oidc":
            return user_by_rules(session.identity, self._rules) if self._has_provider else None
        entry = self._access.current().users.get(session.identity.name)
        if entry is None or fingerprint(entry.password_hash) != session.key:
            return None
        return user_of(session.identity.name, entry)

    def _by_token(self, token: str) -> Known:
        found = self._access.current().token_named(token)
        if found is None:
            raise TokenRefusedError("unknown token")
        name, entry = found
        if entry.is_over(self._now()):
            raise TokenRefusedError(f"token {name} has expired")
        return Known(user_of(name, entry), name)

    async def _by_session(self, session: Session) -> Known | None:
        if not self.ended.is_fresh():
            await run_in_threadpool(self.ended.refresh)
        if session.id in self.ended:
            return None
        user = self.user_of_session(session)
        return Known(user, session.id, session) if user else None
