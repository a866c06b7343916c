"""The HTTP answers: always 200, so that no client retries for ever, and what the connector offers beside statements."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from snowflake.connector.errors import Error
from snowflake_clients import SECONDS, Connect

from local_snowflake.testing import Server


def post(server: Server, path: str, body: bytes, method: str = "POST", **headers: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://{server.host}:{server.port}{path}", data=body, headers=headers, method=method
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        assert answer.status == 200
        return json.loads(answer.read())


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/nope", "/session/v2/login-request", "/api/v2/statements"])
def test_an_unknown_request_is_answered_by_its_name(server: Server, method: str, path: str) -> None:
    answer = post(server, path, b"{}", method)
    assert not answer["success"]
    assert answer["message"] == f"Unsupported request {method} {path} (local Snowflake)."


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"data": 1}', b'{"data": {"TOKEN": 1}}', b"\xff\xfe"])
def test_a_login_that_is_no_login_is_answered(server: Server, body: bytes) -> None:
    assert not post(server, "/session/v1/login-request", body)["success"]


@pytest.mark.parametrize(
    "path",
    [
        "/session/heartbeat",
        "/session/token-request",
        "/session?delete=true",
        "/queries/v1/query-request",
        "/queries/v1/abort-request",
        "/queries/x/result",
        "/monitoring/queries/x",
    ],
)
@pytest.mark.parametrize("header", ["", "Snowflake", 'Snowflake Token="guessed"'])
def test_without_a_token_nothing_is_done(server: Server, path: str, header: str) -> None:
    assert post(server, path, b"{}", Authorization=header)["code"] == "390104"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"sqlText": 1}', b'{"sqlText": "select ?", "bindings": {"1": 2}}']
)
def test_a_query_that_is_no_query_is_answered(server: Server, connect: Connect, body: bytes) -> None:
    with connect() as connection:
        header = f'Snowflake Token="{connection.rest.token}"'
        assert not post(server, "/queries/v1/query-request", body, Authorization=header)["success"]


def test_the_same_request_twice_is_run_once(server: Server, connect: Connect) -> None:
    with connect() as connection:
        connection.cursor().execute("create or replace table sent (a int)")
        header = f'Snowflake Token="{connection.rest.token}"'
        body = json.dumps({"sqlText": "insert into sent values (1)"}).encode()
        answers = [
            post(server, "/queries/v1/query-request?requestId=one", body, Authorization=header) for _ in range(2)
        ]
        assert answers[0] == answers[1]
        assert connection.cursor().execute("select count(*) from sent").fetchall() == [(1,)]


def test_values_are_bound_by_the_server(connect: Connect) -> None:
    with connect(paramstyle="qmark") as connection:
        cursor = connection.cursor()
        cursor.execute("create or replace table bound (a int, b varchar)")
        cursor.execute("insert into bound values (?, ?)", (1, "it's $x"))
        assert cursor.execute("select b from bound where a = ?", (1,)).fetchall() == [("it's $x",)]


def test_many_rows_are_bound_at_once_and_counted(connect: Connect) -> None:
    with connect(paramstyle="qmark") as connection:
        cursor = connection.cursor()
        cursor.execute("create or replace table many (a int, b varchar)")
        cursor.executemany("insert into many values (?, ?)", [(number, str(number)) for number in range(20)])
        assert cursor.rowcount == 20
        with pytest.raises(Error):
            cursor.executemany("insert into many values (?, ?)", [(20, "x"), ("not a number", "y")])
        assert cursor.execute("select count(*) from many").fetchall() == [(20,)]


def test_describing_a_statement_does_not_run_it(cursor: Any) -> None:
    cursor.execute("create or replace table described (a int, b varchar)")
    assert [column.name for column in cursor.describe("select * from described")] == ["A", "B"]
    with pytest.raises(Error, match="describe of a statement that is not a query"):
        cursor.describe("insert into described values (1, 'x')")
    assert cursor.execute("select count(*) from described").fetchall() == [(0,)]


def test_counts_of_changed_rows_are_the_connectors_rowcount(cursor: Any) -> None:
    cursor.execute("create or replace table counted as select 1 as id union all select 2")
    assert cursor.execute("insert into counted values (3), (4)").rowcount == 2
    assert cursor.execute("update counted set id = id + 10 where id > 2").rowcount == 2
    merge = (
        "merge into counted using (select 1 as id union all select 9) s on counted.id = s.id "
        "when matched then delete when not matched then insert (id) values (s.id)"
    )
    assert cursor.execute(merge).fetchall() == [(1, 1)]
    assert cursor.execute("delete from counted").rowcount == 4


def test_types_and_nulls_arrive_as_the_connectors_own(cursor: Any) -> None:
    row = cursor.execute(
        "select null::timestamp_ntz, null::date, null::number(10,2), '1969-12-31 23:59:59.5'::timestamp_ntz::varchar, "
        "'12:30:00'::time, true, 1.5::float, parse_json('null'), ''"
    ).fetchone()
    assert row[:3] == (None, None, None)
    assert row[3].startswith("1969-12-31 23:59:59.5")
    assert row[4].isoformat() == "12:30:00"
    assert row[5:7] == (True, 1.5)
    assert row[8] == ""


def test_a_moment_before_1970_keeps_its_fraction(cursor: Any) -> None:
    moment = cursor.execute("select '1969-12-31 23:59:58.25'::timestamp_ntz").fetchone()[0]
    assert moment.isoformat() == "1969-12-31T23:59:58.250000"
