"""A database whose host vanishes says no goodbye: the limits of a connection to it, and asking in a thread.

What is asked, and what is said when no answer comes, is the caller's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sqlalchemy import URL, make_url

# In seconds, the last in milliseconds. Without these, what waits for an answer does so until the kernel's own limit,
# which is many minutes. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
CONNECTION_LIMITS = {
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
_Answer = TypeVar("_Answer")


def missing_limits(url: URL, **others: str) -> dict[str, str]:
    """The limits that a URL does not set itself.

    Args:
        url: of a Postgres.
        others: further parameters of libpq, or other values for these.
    """
    return {name: value for name, value in {**CONNECTION_LIMITS, **others}.items() if name not in url.query}


def with_limits(url: str) -> str:
    """A URL of Postgres with the limits that it does not set itself. It holds the password: never to be shown."""
    parsed = make_url(url)
    return parsed.update_query_dict(missing_limits(parsed)).render_as_string(hide_password=False)


def ask(question: Callable[[], _Answer], name: str) -> Future[_Answer]:
    """The answer to come, or the exception, from a thread of its own: nothing interrupts a read of a dead connection.

    Args:
        question: what is done there.
        name: the thread's.
    """
    answer: Future[_Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:  # handed to who waits
            answer.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return answer
