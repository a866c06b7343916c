"""What is an outage, and what is a question that is wrong."""

from __future__ import annotations

import psycopg2
import pytest
from psycopg2 import errors
from sqlalchemy import exc

from dagster_apollo.runs import patience
from dagster_apollo.runs.patience import Patience, is_outage


class CannotConnectNow(errors.CannotConnectNow):
    """As the driver raises it, with the server's code."""

    pgcode = "57P03"  # type: ignore[assignment]


class Deadlock(errors.DeadlockDetected):
    pgcode = "40P01"  # type: ignore[assignment]


class NoSuchTable(errors.UndefinedTable):
    pgcode = "42P01"  # type: ignore[assignment]


def raised(original: Exception, kind: type[exc.DBAPIError] = exc.OperationalError, **named: bool) -> exc.DBAPIError:
    return kind("select 1", {}, original, **named)


def because_of(cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except Exception as error:
            raise RuntimeError("too many retries") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        raised(psycopg2.OperationalError("connection refused")),
        raised(psycopg2.InterfaceError("closed"), exc.InterfaceError, connection_invalidated=True),
        raised(CannotConnectNow("starting up")),
        raised(Deadlock("in each other's way")),
        exc.TimeoutError("no connection was free"),
        because_of(raised(psycopg2.OperationalError("connection refused"))),
    ],
)
def test_a_database_that_is_away_or_in_the_way_is_an_outage(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        raised(NoSuchTable("no such table"), exc.ProgrammingError),
        raised(psycopg2.IntegrityError("twice"), exc.IntegrityError),
        ValueError("anything"),
        because_of(ValueError("anything")),
    ],
)
def test_a_question_that_is_wrong_is_none(error: Exception) -> None:
    assert not is_outage(error)


def test_a_question_is_repeated_as_a_whole_and_said_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0.0)
    told: list[str] = []
    waiting = Patience(tell=told.append)
    asked: list[str] = []

    def inner() -> int:
        asked.append("inner")
        if len(asked) < 6:
            raise raised(psycopg2.OperationalError("connection refused"))
        return 7

    def outer() -> int:
        asked.append("outer")
        return waiting.call(inner)

    assert waiting.call(outer) == 7
    assert asked == ["outer", "inner"] * 3
    assert told == ["the database is away (OperationalError); waiting for it", "the database is back"]


def test_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0.0)

    def away() -> None:
        raise raised(psycopg2.OperationalError("connection refused"))

    with pytest.raises(exc.OperationalError):
        Patience(seconds=0.01).call(away)
