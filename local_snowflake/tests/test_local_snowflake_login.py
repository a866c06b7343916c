"""Who is let in, and with which of Snowflake's codes the others are refused: the real connector against the server."""

from __future__ import annotations

import base64
import concurrent.futures
import datetime
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from snowflake.connector.auth import AuthByKeyPair
from snowflake.connector.errors import Error
from snowflake_clients import Connect, KeyPair

from local_snowflake.testing import Server, running_server

WHO = "select current_user(), current_role(), current_warehouse()"


def fingerprint(key: KeyPair) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.public_der).digest()).decode()


def bare(key: KeyPair) -> str:
    """A public key as ALTER USER takes it."""
    return base64.b64encode(key.public_der).decode()


def who(connect: Connect, **changes: Any) -> tuple[str, str, str]:
    with connect(**changes) as connection:
        return connection.cursor().execute(WHO).fetchone()


def refusal(attempt: Callable[[], Any]) -> str:
    """The code of a refusal, in six digits."""
    with pytest.raises(Error) as refused:
        attempt()
    text = str(refused.value)
    for code in ("390100", "390101", "390104", "390114", "390144", "390189"):
        if code in text or refused.value.errno == int(code):
            return code
    raise AssertionError(f"no code of a refused login in {text}")


def texts_of_refusals(connect: Connect, **changes: Any) -> str:
    with pytest.raises(Error) as refused:
        connect(**changes)
    return str(refused.value)


def test_a_registered_key_is_let_in_with_the_wanted_role(connect: Connect) -> None:
    assert who(connect) == ("DBT", "TRANSFORMER", "WH")


def test_without_a_role_and_warehouse_the_users_defaults_are_taken(connect: Connect) -> None:
    assert who(connect, role=None, warehouse=None) == ("DBT", "TRANSFORMER", "WH")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"key": "b"}, "390144"),
        ({"user": "nobody"}, "390144"),
        ({"account": "otheracct"}, "390144"),
        ({"private_key": None, "password": "secret"}, "390100"),
        ({"private_key": None, "authenticator": "oauth", "token": "abc"}, "390100"),
        ({"role": "NOPE"}, "390189"),
        ({"role": "SYSADMIN"}, "390189"),
    ],
    ids=["unknown key", "unknown user", "other account", "password", "oauth", "unknown role", "role not granted"],
)
def test_a_wrong_login_is_refused_with_snowflakes_code(connect: Connect, changes: dict[str, Any], code: str) -> None:
    assert refusal(lambda: connect(**changes)) == code


def test_a_refusal_of_a_key_does_not_say_what_was_wrong_with_it(connect: Connect) -> None:
    assert "JWT token is invalid" in texts_of_refusals(connect, key="b")
    assert "JWT token is invalid" in texts_of_refusals(connect, user="nobody")


Claims = dict[str, Any]


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch, key_pairs: dict[str, KeyPair], connect: Connect) -> Callable[..., None]:
    """Connect with a token that the connector would not make: changed claims, another key or another algorithm."""

    def attempt(signed_by: str = "a", algorithm: str = "RS256", **changes: Any) -> None:
        def prepare(self: AuthByKeyPair, **_: Any) -> None:
            now = datetime.datetime.now(datetime.UTC)
            claims: Claims = {
                "iss": f"LOCALACCT.DBT.{fingerprint(key_pairs['a'])}",
                "sub": "LOCALACCT.DBT",
                "iat": now,
                "exp": now + datetime.timedelta(seconds=60),
            }
            claims |= {
                name: now + value if isinstance(value, datetime.timedelta) else value for name, value in changes.items()
            }
            secrets = {"RS256": key_pairs[signed_by].private, "HS256": "x" * 40, "none": None}
            given = {name: value for name, value in claims.items() if value is not None}
            self._jwt_token_exp = now
            self._jwt_token = jwt.encode(given, secrets[algorithm], algorithm=algorithm)

        monkeypatch.setattr(AuthByKeyPair, "prepare", prepare)
        connect().close()

    return attempt


def seconds(number: int) -> datetime.timedelta:
    return datetime.timedelta(seconds=number)


def test_a_token_made_by_hand_is_let_in_when_all_of_it_is_right(forge: Callable[..., None]) -> None:
    forge()


@pytest.mark.parametrize(
    "changes",
    [
        {"iat": seconds(-65), "exp": seconds(-5)},
        {"exp": seconds(7200)},
        {"iat": seconds(600), "exp": seconds(660)},
        {"exp": None},
        {"iat": None},
        {"signed_by": "b"},
        {"algorithm": "none"},
        {"algorithm": "HS256"},
        {"iss": "LOCALACCT.OTHER.SHA256:x"},
        {"iss": "LOCALACCT.DBT"},
        {"sub": "LOCALACCT.OTHER"},
    ],
    ids=[
        "expired",
        "valid for over an hour",
        "issued in the future",
        "without expiry",
        "without time of issue",
        "bad signature",
        "algorithm none",
        "symmetric algorithm",
        "foreign issuer",
        "issuer without fingerprint",
        "other subject",
    ],
)
def test_a_forged_token_is_refused(forge: Callable[..., None], changes: dict[str, Any]) -> None:
    assert refusal(lambda: forge(**changes)) == "390144"


def test_keys_are_rotated_through_two_slots_without_a_gap(
    connect: Connect, cursor: Any, key_pairs: dict[str, KeyPair]
) -> None:
    old, new = key_pairs["a"], key_pairs["b"]
    cursor.execute("create user rotating default_role = 'PUBLIC'")
    cursor.execute(f"alter user rotating set rsa_public_key = '{bare(old)}'")
    as_user = {"user": "rotating", "role": None}

    cursor.execute(f"alter user rotating set rsa_public_key_2 = '{bare(new)}'")
    assert who(connect, key="a", **as_user)[0] == who(connect, key="b", **as_user)[0] == "ROTATING"
    shown = {row[0]: row[1] for row in cursor.execute("desc user rotating").fetchall()}
    assert shown["RSA_PUBLIC_KEY_FP"] == fingerprint(old)
    assert shown["RSA_PUBLIC_KEY_2_FP"] == fingerprint(new)

    cursor.execute("alter user rotating unset rsa_public_key")
    assert refusal(lambda: connect(key="a", **as_user)) == "390144"
    assert who(connect, key="b", **as_user)[0] == "ROTATING"

    cursor.execute(f"alter user rotating set rsa_public_key = '{bare(key_pairs['c'])}'")
    assert who(connect, key="c", **as_user)[0] == "ROTATING"


def test_a_disabled_user_is_refused(connect: Connect, cursor: Any, key_pairs: dict[str, KeyPair]) -> None:
    cursor.execute("create user leaving")
    cursor.execute(f"alter user leaving set rsa_public_key = '{bare(key_pairs['a'])}'")
    assert who(connect, user="leaving", role=None)[1] == "PUBLIC"
    cursor.execute("alter user leaving set disabled = true")
    assert refusal(lambda: connect(user="leaving", role=None)) == "390101"


def test_a_role_granted_through_another_role_may_be_used(
    connect: Connect, cursor: Any, key_pairs: dict[str, KeyPair]
) -> None:
    for statement in (
        "create user etl",
        f"alter user etl set rsa_public_key = '{bare(key_pairs['a'])}'",
        "create role loader",
        "create role reader",
        "grant role reader to role loader",
        "grant role loader to user etl",
    ):
        cursor.execute(statement)
    assert who(connect, user="etl", role="READER")[1] == "READER"
    with (
        connect(user="etl", role="LOADER") as connection,
        pytest.raises(Error, match="does not exist or not authorized"),
    ):
        connection.cursor().execute("use role transformer")


def test_text_that_is_no_public_key_is_refused(cursor: Any) -> None:
    with pytest.raises(Error, match="Invalid public key") as refused:
        cursor.execute("alter user dbt set rsa_public_key_2 = 'abc'")
    assert refused.value.errno == 2401


def test_a_login_stands_without_its_warehouse_and_only_work_is_refused(connect: Connect) -> None:
    with connect(warehouse="NOWH") as connection:
        assert connection.cursor().execute("select 1").fetchall() == [(1,)]
        with pytest.raises(Error, match="No active warehouse") as refused:
            connection.cursor().execute("select * from ANALYTICS.information_schema.tables")
    assert refused.value.errno == 606


def test_a_login_stands_without_its_database_and_only_names_are_refused(connect: Connect) -> None:
    with connect(database="NODB") as connection:
        assert connection.cursor().execute("select current_database()").fetchall() == [(None,)]
        with pytest.raises(Error, match="does not have a current database") as refused:
            connection.cursor().execute("create table t (a int)")
    assert refused.value.errno == 90105


def test_an_ended_session_token_is_renewed_and_an_ended_master_token_asks_for_a_login(
    new_root: Callable[[], Path], connect_to: Connect
) -> None:
    short = {"LOCAL_SNOWFLAKE_SESSION_TOKEN_SECONDS": "1", "LOCAL_SNOWFLAKE_MASTER_TOKEN_SECONDS": "4"}
    with running_server(new_root(), settings=short) as server:
        connection = connect_to(server)
        cursor = connection.cursor()
        cursor.execute("create temporary table kept as select 7 as a")
        time.sleep(1.5)
        assert cursor.execute("select a from kept").fetchall() == [(7,)]  # the same session goes on
        time.sleep(4.5)
        assert refusal(lambda: cursor.execute("select 1")) == "390114"


def test_a_session_of_a_server_that_was_restarted_asks_for_a_login(
    new_root: Callable[[], Path], connect_to: Connect
) -> None:
    root = new_root()
    with running_server(root) as before:
        connection = connect_to(before)
        token = connection.rest.token
    with running_server(root) as after:
        again = connect_to(after)
        again.rest.update_tokens(token, "unknown")
        assert refusal(lambda: again.cursor().execute("select 1")) == "390104"


def test_the_token_of_a_closed_connection_is_worth_nothing(connect: Connect, server: Server) -> None:
    connection = connect()
    token = connection.rest.token
    connection.close()
    with connect() as other:
        other.rest.update_tokens(token, "unknown")
        assert refusal(lambda: other.cursor().execute("select 1")) == "390104"


def test_many_clients_that_log_in_at_once_are_all_let_in(connect: Connect) -> None:
    def one(_: int) -> tuple[str, str, str]:
        return who(connect)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(24))) == {("DBT", "TRANSFORMER", "WH")}
