"""All of a running account: its catalogue, its users, its sessions, the write lock, and the watch over time limits."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any

from local_snowflake.account import Account
from local_snowflake.catalog import Catalog
from local_snowflake.errors import SqlError
from local_snowflake.results import RecentResults
from local_snowflake.root import account_file, data_folder
from local_snowflake.session import Session
from local_snowflake.settings import Settings
from local_snowflake.write_lock import WriteLock


class Engine:
    """One account on one DuckDB process."""

    def __init__(self, root: Path, account_name: str, settings: Settings) -> None:
        self.settings = settings
        self.account = Account(account_name, account_file(root))
        self.catalog = Catalog(data_folder(root))
        self.write_lock = WriteLock(settings.lock_timeout_seconds, settings.idle_transaction_seconds)
        self.results = RecentResults()
        self.sessions: dict[str, Session] = {}
        self._ids = itertools.count(int(time.time() * 1000))  # Snowflake's session ids are long numbers too
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="statement-time-limits", daemon=True).start()

    def open_session(self, user: str, role: str, wanted: dict[str, Any]) -> Session:
        """A session for a user who was let in.

        Args:
            wanted: database, schema and warehouse of the connection. As in Snowflake the login stands when there is
                no such thing, and the session has none.
        """
        default_warehouse = self.account.user(user).properties.get("DEFAULT_WAREHOUSE")
        warehouse = _folded(wanted.get("warehouse") or default_warehouse)
        session = Session(
            self, str(next(self._ids)), user, role, warehouse if warehouse in self.account.warehouses else None
        )
        database, schema = _folded(wanted.get("database")), _folded(wanted.get("schema"))
        for attempt in ((database, None), (database, schema)):
            try:
                session.use(*attempt)
            except SqlError:
                break
        self.sessions[session.id] = session
        return session

    def cancel(self, session_id: str) -> None:
        """Cancel what a session is running."""
        if session := self.sessions.get(str(session_id)):
            session.cancel()

    def cancel_all(self) -> None:
        """Cancel what every session is running."""
        for session in list(self.sessions.values()):
            session.cancel()

    def close(self) -> None:
        """Cancel all that runs, roll back what is open, and write the databases to their files."""
        self._stopped.set()
        for session in list(self.sessions.values()):
            session.close()
        self.catalog.close()

    def _watch(self) -> None:
        while not self._stopped.wait(1):
            for session in list(self.sessions.values()):
                session.cancel_if_overdue()


def _folded(name: str | None) -> str | None:
    """A name of the connection's settings: upper case unless it is in double quotes."""
    if not name:
        return None
    return name.strip('"') if name.startswith('"') else name.upper()
