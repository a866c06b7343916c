"""What the server can't do it refuses by name, what is wrong it refuses with Snowflake's code, and it never hangs."""

from __future__ import annotations

from typing import Any

import pytest
from snowflake.connector.errors import Error

UNSUPPORTED = 2


@pytest.fixture
def errors(cursor: Any) -> Any:
    """The error that a statement is refused with; afterwards the session must go on."""
    cursor.execute("create table if not exists ANALYTICS.PUBLIC.t (a int, b varchar)")

    def of(statement: str) -> Error:
        with pytest.raises(Error) as refused:
            cursor.execute(statement)
        assert cursor.execute("select 1").fetchall() == [(1,)]
        return refused.value

    return of


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("select * from t at(offset => -60)", "time travel"),
        ("select * from t before(statement => 'x')", "time travel"),
        ("undrop table t", "UNDROP"),
        ("create or replace function f(x int) returns int as 'x + 1'", "CREATE FUNCTION"),
        ("create or replace procedure p() returns int language sql as 'x'", "CREATE PROCEDURE"),
        ("call p()", "CALL"),
        ("execute immediate 'select 1'", "EXECUTE"),
        ("declare x int; begin select 1; end", "DECLARE"),
        ("begin select 1; end", "Snowflake Scripting"),
        ("create dynamic table d target_lag = '1 minute' warehouse = WH as select 1 as a", "CREATE DYNAMIC"),
        ("create stream s on table t", "CREATE STREAM"),
        ("create task k warehouse = WH as select 1", "CREATE TASK"),
        ("create schema s clone PUBLIC", "CREATE SCHEMA ... CLONE"),
        ("drop database ANALYTICS", "DROP DATABASE"),
        (
            "select * from t match_recognize(order by a measures first(a) as f pattern (x+) define x as a > 0)",
            "MATCH_REC",
        ),
        ("alter session set timezone = 'Europe/Vienna'", "TIMEZONE"),
        ("alter session set autocommit = false", "AUTOCOMMIT"),
        ("select value from table(flatten(input => parse_json('[1]'), recursive => true))", "recursive"),
        ("insert first when a > 1 then into t else into t select 1 as a, 'b' as b", "INSERT ALL / FIRST"),
        ("select to_varchar(1, b) from t", "format that is not a constant"),
        ("explain select 1", "EXPLAIN"),
        ("list @~", "LIST"),
        ("copy into t from @~/x.csv", "COPY"),
        ("create stage s", "CREATE STAGE"),
        ("create file format f type = csv", "CREATE FILE"),
    ],
)
def test_what_it_can_not_do_is_refused_by_name(errors: Any, statement: str, name: str) -> None:
    error = errors(statement)
    assert error.errno == UNSUPPORTED
    assert name in error.msg
    assert "local Snowflake" in error.msg


@pytest.mark.parametrize(
    ("statement", "errno", "text"),
    [
        ("select * from nope", 2003, "Object 'NOPE' does not exist or not authorized."),
        ("select * from ANALYTICS.NOSCHEMA.x", 2003, "does not exist"),
        ("drop table nope", 2003, "does not exist"),
        ("truncate table nope", 2003, "does not exist"),
        ("alter table nope add column a int", 2003, "does not exist"),
        ("alter table nope drop column a", 2003, "does not exist"),
        ("desc table nope", 2003, "does not exist"),
        ("comment on table nope is 'x'", 2003, "does not exist"),
        ("grant select on nope to role transformer", 2003, "does not exist"),
        ("grant select on t to role nope", 2003, "Role 'NOPE' does not exist"),
        ("use role nope", 2043, "Role 'NOPE' does not exist"),
        ("use warehouse nope", 2043, "Object does not exist"),
        ("use schema nope", 2043, "Object does not exist"),
        ("show tables in schema nope", 2043, "Object does not exist"),
        ("select nope from t", 904, "invalid identifier 'NOPE'"),
        ("select foo(1)", 2140, "Unknown function FOO"),
        ("create table t (a int)", 2002, "Object 'T' already exists"),
        ("create database analytics", 2002, "Object 'ANALYTICS' already exists"),
        ("select $unset_variable", 2211, "Session variable '$UNSET_VARIABLE' does not exist"),
        ("select * from t where", 1003, "syntax error"),
        ("select 'abc", 1003, "parse error"),
        ("alter session set a =", 1003, "syntax error"),
        ("grant select", 1003, "syntax error"),
        ("-- only a comment", 900, "Empty SQL statement"),
        ("select 1; select 2", 8, "Actual statement count 2"),
        ("select 1 / 0", 100051, "Division by zero"),
        ("select a / (a - 1) from (select 1 as a)", 100051, "Division by zero"),
        ("select 'x'::int", 100038, ""),
        ("select cast('2026-13-01' as date)", 100038, ""),
        ("insert into t values (1, 'b', 2)", None, ""),
        ("merge into nope using t on 1 = 1 when matched then delete", 2003, "does not exist"),
    ],
)
def test_what_is_wrong_is_refused_with_snowflakes_code(
    errors: Any, statement: str, errno: int | None, text: str
) -> None:
    error = errors(statement)
    assert errno is None or error.errno == errno, error
    assert text in error.msg


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "copy (select 1) to '/tmp/local_snowflake_leak.csv'",
        "attach '/tmp/local_snowflake_leak.db'",
        "install httpfs",
        "load httpfs",
        "pragma version",
        "put file:///etc/passwd @~",
    ],
)
def test_sql_reaches_no_file_and_no_extension(errors: Any, statement: str) -> None:
    errors(statement)


def test_the_account_file_and_its_keys_can_not_be_read_by_sql(errors: Any, server: Any) -> None:
    error = errors(f"select * from read_text('{server.root}/account.json')")
    assert "SHA256" not in error.msg


@pytest.mark.parametrize(
    "statement",
    ["\x00", "select " + "(" * 3000 + "1" + ")" * 3000, "select json_extract_path_text(1", "put", "use", "show", ";"],
    ids=["nul", "nested 3000 times", "half a call", "put", "use", "show", "semicolon"],
)
def test_nonsense_is_answered_with_an_error(errors: Any, statement: str) -> None:
    errors(statement)


def test_a_not_null_column_refuses_a_null(errors: Any, cursor: Any) -> None:
    cursor.execute("create or replace table strict (a int not null)")
    assert errors("insert into strict values (null)").errno == 100072


def test_a_merge_with_two_source_rows_for_one_target_row_is_refused_and_changes_nothing(
    errors: Any, cursor: Any
) -> None:
    cursor.execute("create or replace table once as select 1 as id, 'a' as v")
    error = errors(
        "merge into once using (select 1 as id, 'b' as v union all select 1, 'c') s on once.id = s.id "
        "when matched then update set v = s.v"
    )
    assert error.errno == 100090
    assert cursor.execute("select v from once").fetchall() == [("a",)]


class TestWhatIsNotAsInSnowflake:
    """Differences that the README names; when one of these fails, the README has to change with it."""

    def test_the_length_of_a_varchar_is_kept_but_not_enforced(self, cursor: Any) -> None:
        cursor.execute("create or replace table short (a varchar(2))")
        cursor.execute("insert into short values ('abc')")
        assert cursor.execute("select a from short").fetchall() == [("abc",)]
        assert cursor.execute("describe table short").fetchall()[0][1] == "VARCHAR(2)"

    def test_a_whole_number_has_64_bits(self, errors: Any) -> None:
        assert errors("select 12345678901234567890::number(38,0)").errno == 100038

    def test_two_columns_can_not_differ_by_case_alone(self, errors: Any) -> None:
        errors('create or replace table cases ("a" int, A int)')

    def test_grants_are_shown_but_not_enforced(self, cursor: Any) -> None:
        cursor.execute("create or replace table guarded as select 1 as a")
        cursor.execute("revoke select on table guarded from role transformer")
        assert cursor.execute("select a from guarded").fetchall() == [(1,)]
