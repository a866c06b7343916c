"""The limits that keep a connection to a vanished database from being waited for."""

from __future__ import annotations

from psycopg2.extensions import parse_dsn
from sqlalchemy import make_url

from dagster_apollo.silent_database import CONNECTION_LIMITS, with_limits

URL = "postgresql+psycopg2://dagster:s3cr%40t%2F%25word@db:5433/name"


def test_a_url_is_given_every_limit_and_is_otherwise_as_it_was() -> None:
    limited = make_url(with_limits(URL))

    assert dict(limited.query) == CONNECTION_LIMITS
    assert limited.set(query={}) == make_url(URL)
    assert limited.password == "s3cr@t/%word"


def test_what_a_person_set_is_kept() -> None:
    query = make_url(with_limits(f"{URL}?sslmode=require&keepalives_idle=60")).query

    assert (query["sslmode"], query["keepalives_idle"], query["keepalives_count"]) == ("require", "60", "3")


def test_every_limit_is_one_that_libpq_knows() -> None:
    text = " ".join(f"{name}={value}" for name, value in CONNECTION_LIMITS.items())

    assert parse_dsn(text) == CONNECTION_LIMITS
