"""Session and master tokens of logged-in clients: random, in memory, each with an end."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass

from local_snowflake.errors import LoginError
from local_snowflake.settings import Settings


@dataclass(frozen=True)
class TokenPair:
    session: str
    master: str


class TokenStore:
    """Which session a token stands for. A token of an earlier run of the server stands for none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sessions: dict[str, tuple[str, float]] = {}
        self._masters: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def issue(self, session_id: str) -> TokenPair:
        """New tokens for a session; those before stay good until their own end, as a client may be using them."""
        pair = TokenPair(secrets.token_urlsafe(48), secrets.token_urlsafe(48))
        now = time.time()
        with self._lock:
            self._sessions[pair.session] = (session_id, now + self._settings.session_token_seconds)
            self._masters[pair.master] = (session_id, now + self._settings.master_token_seconds)
        return pair

    def session_of(self, token: str) -> str:
        """The session of a session token.

        Raises:
            LoginError: 390104 an unknown token; 390112 an ended one, at which the connector renews it.
        """
        return self._look_up(self._sessions, token, "390112", "Your session has expired. Please login again.")

    def session_of_master(self, token: str) -> str:
        """The session of a master token.

        Raises:
            LoginError: 390104 an unknown token; 390114 an ended one.
        """
        text = "Authentication token has expired.  The user must authenticate again."
        return self._look_up(self._masters, token, "390114", text)

    def forget(self, session_id: str) -> None:
        """The session is closed."""
        with self._lock:
            for tokens in (self._sessions, self._masters):
                for token in [token for token, (owner, _) in tokens.items() if owner == session_id]:
                    del tokens[token]

    def abandoned(self, session_ids: list[str]) -> list[str]:
        """Which of these sessions no client can come back to, because all of their master tokens have ended."""
        now = time.time()
        with self._lock:
            alive = {owner for owner, end in self._masters.values() if end > now}
        return [session_id for session_id in session_ids if session_id not in alive]

    @staticmethod
    def _look_up(tokens: dict[str, tuple[str, float]], token: str, code: str, text: str) -> str:
        session_id, end = tokens.get(token, (None, 0.0))
        if session_id is None:
            raise must_login_again()
        if end < time.time():
            raise LoginError(code, text)
        return session_id


def must_login_again() -> LoginError:
    return LoginError("390104", "User must login again to access the service.")
