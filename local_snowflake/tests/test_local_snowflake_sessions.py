"""Several sessions at once: locks, transactions, time limits, cancelling, and statements that take long."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from snowflake.connector.errors import Error, ProgrammingError
from snowflake_clients import SECONDS, Connect

from local_snowflake.testing import PACKAGE_FOLDER, Server, interpreter, running_server

ENDLESS = "select count(*) from table(generator(rowcount => 100000)) a, table(generator(rowcount => 10000000)) b"

# What the threads of a server that has just started do with the first statement of each.
FIRST_STATEMENTS = """\
import sys, threading
import local_snowflake.server
from local_snowflake.commands.tokens import Tokens

def first(number):
    start.wait()
    tokens = Tokens("show terse schemas")
    tokens.part()
    read[number] = tokens.part()

sys.setswitchinterval(1e-6)
start, read = threading.Barrier(8), [""] * 8
threads = [threading.Thread(target=first, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*read)
"""

Cursors = Callable[[], Any]


@pytest.fixture(scope="module")
def quick_server(new_root: Callable[[], Path]) -> Iterator[Server]:
    """A server whose locks and transactions end after seconds, and which answers "in progress" after one."""
    settings = {
        "LOCAL_SNOWFLAKE_LOCK_TIMEOUT_SECONDS": "4",
        "LOCAL_SNOWFLAKE_IDLE_TRANSACTION_SECONDS": "2",
        "LOCAL_SNOWFLAKE_SYNCHRONOUS_WAIT_SECONDS": "1",
    }
    with running_server(new_root(), settings=settings) as server:
        yield server


@pytest.fixture
def cursors(quick_server: Server, connect_to: Connect) -> Iterator[Cursors]:
    """Makes cursors of sessions of their own."""
    connections = []

    def make() -> Any:
        connections.append(connect_to(quick_server))
        return connections[-1].cursor()

    yield make
    for connection in connections:
        connection.close()


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        yield executor


def test_the_first_statements_of_several_sessions_are_all_read_as_snowflakes() -> None:
    words = [str(interpreter()), "-c", FIRST_STATEMENTS]
    done = subprocess.run(words, cwd=PACKAGE_FOLDER, capture_output=True, text=True, timeout=SECONDS, check=True)

    assert done.stdout.split() == ["TERSE"] * 8


def test_a_reader_does_not_wait_for_a_writer_and_sees_the_committed_rows(cursors: Cursors) -> None:
    writer, reader = cursors(), cursors()
    writer.execute("create or replace table seen as select 1 as v")
    writer.execute("begin")
    writer.execute("update seen set v = 2")
    assert reader.execute("select v from seen").fetchall() == [(1,)]
    writer.execute("commit")
    assert reader.execute("select v from seen").fetchall() == [(2,)]


def test_a_second_writer_waits_until_the_first_has_committed(
    cursors: Cursors, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    first, second = cursors(), cursors()
    first.execute("create or replace table counted as select 0 as v")
    first.execute("begin")
    first.execute("update counted set v = v + 1")
    waiting = pool.submit(second.execute, "update counted set v = v + 10")
    with pytest.raises(concurrent.futures.TimeoutError):
        waiting.result(0.5)
    first.execute("commit")
    waiting.result(SECONDS)
    assert first.execute("select v from counted").fetchall() == [(11,)]


def test_a_writer_that_waits_too_long_is_refused(cursors: Cursors, pool: concurrent.futures.ThreadPoolExecutor) -> None:
    first, second = cursors(), cursors()
    first.execute("create or replace table held as select 0 as v")
    first.execute("begin")
    first.execute("update held set v = 1")
    waiting = pool.submit(second.execute, "update held set v = 2")
    while not waiting.done():  # the first session is never idle, so that its transaction is not given up
        first.execute("select 1")
        concurrent.futures.wait([waiting], 0.2)
    with pytest.raises(ProgrammingError, match="waited for a lock") as refused:
        waiting.result()
    assert refused.value.errno == 625
    first.execute("commit")


def test_an_abandoned_transaction_is_rolled_back_for_who_waits_and_its_commit_says_so(cursors: Cursors) -> None:
    gone, other = cursors(), cursors()
    gone.execute("create or replace table abandoned as select 0 as v")
    gone.execute("begin")
    gone.execute("update abandoned set v = 100")
    other.execute("update abandoned set v = v + 1")
    with pytest.raises(ProgrammingError, match="rolled back because it was idle") as refused:
        gone.execute("commit")
    assert refused.value.errno == 90232
    assert gone.execute("select v from abandoned").fetchall() == [(1,)]


def test_an_error_in_a_transaction_rolls_all_of_it_back_and_nothing_is_written_until_it_is_ended(
    cursors: Cursors,
) -> None:
    cursor = cursors()
    cursor.execute("create or replace table whole (v int)")
    cursor.execute("begin")
    cursor.execute("insert into whole values (1)")
    with pytest.raises(ProgrammingError):
        cursor.execute("insert into whole select 'x'::int")
    with pytest.raises(ProgrammingError, match="rolled back after an error"):
        cursor.execute("insert into whole values (2)")
    with pytest.raises(ProgrammingError, match="rolled back after an error"):
        cursor.execute("commit")
    assert cursor.execute("select count(*) from whole").fetchall() == [(0,)]
    cursor.execute("insert into whole values (3)")
    assert cursor.execute("select v from whole").fetchall() == [(3,)]


def test_a_statement_that_fails_halfway_changes_nothing(cursors: Cursors) -> None:
    cursor = cursors()
    cursor.execute("create or replace table kept as select 1 as v")
    with pytest.raises(ProgrammingError):
        cursor.execute("insert overwrite into kept select 'x'::int")
    assert cursor.execute("select v from kept").fetchall() == [(1,)]


def test_ddl_commits_the_transaction_before_it(cursors: Cursors) -> None:
    cursor = cursors()
    cursor.execute("create or replace table committed (v int)")
    cursor.execute("begin")
    cursor.execute("insert into committed values (1)")
    cursor.execute("create or replace table another (v int)")
    cursor.execute("rollback")
    assert cursor.execute("select v from committed").fetchall() == [(1,)]


def test_a_temporary_table_is_seen_by_its_own_session_alone(cursors: Cursors) -> None:
    mine, other = cursors(), cursors()
    mine.execute("create or replace table both as select 'lasting' as v")
    mine.execute("create temporary table both as select 'temporary' as v")
    assert mine.execute("select v from both").fetchall() == [("temporary",)]
    assert other.execute("select v from both").fetchall() == [("lasting",)]
    mine.execute("drop table both")
    assert mine.execute("select v from both").fetchall() == [("lasting",)]


def test_a_statement_that_takes_longer_than_an_answer_may_is_asked_for_again(cursors: Cursors) -> None:
    slow = "select count(*) from table(generator(rowcount => 20000)) a, table(generator(rowcount => 200000)) b"
    assert cursors().execute(slow).fetchall() == [(4_000_000_000,)]


def test_a_statement_is_cancelled_by_the_clients_timeout(cursors: Cursors) -> None:
    cursor = cursors()
    with pytest.raises(Error) as cancelled:
        cursor.execute(ENDLESS, timeout=2)
    assert cancelled.value.errno == 604
    assert cursor.execute("select 1").fetchall() == [(1,)]


def test_a_statement_is_cancelled_by_the_sessions_time_limit(cursors: Cursors) -> None:
    cursor = cursors()
    cursor.execute("alter session set statement_timeout_in_seconds = 1")
    with pytest.raises(Error, match="statement timeout of 1 second") as cancelled:
        cursor.execute(ENDLESS)
    assert cancelled.value.errno == 630


def test_a_statement_that_waits_for_the_lock_is_cancelled_too(cursors: Cursors) -> None:
    first, second = cursors(), cursors()
    first.execute("create or replace table locked as select 0 as v")
    second.execute("alter session set statement_timeout_in_seconds = 1")
    first.execute("begin")
    first.execute("update locked set v = 1")
    with pytest.raises(Error) as cancelled:
        second.execute("update locked set v = 2")
    assert cancelled.value.errno == 630
    first.execute("rollback")


def test_eight_sessions_that_write_at_once_lose_nothing(
    cursors: Cursors, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    times = 5
    cursors().execute("create or replace table shared as select 1 as id, 0 as v")

    def work(number: int, cursor: Any) -> None:
        for turn in range(times):
            cursor.execute("update shared set v = v + 1 where id = 1")
            cursor.execute(f"create or replace table own_{number} as select {turn} as v")
            cursor.execute(f"create schema if not exists ANALYTICS.S{turn % 2}")
            cursor.execute("use schema ANALYTICS.PUBLIC")
            cursor.execute("begin")
            cursor.execute(f"delete from own_{number}")
            cursor.execute(f"insert into own_{number} values ({turn + 1})")
            cursor.execute("commit")

    working = [pool.submit(work, number, cursors()) for number in range(8)]
    for future in working:
        future.result(SECONDS)
    assert cursors().execute("select v from shared").fetchall() == [(8 * times,)]
    assert {cursors().execute(f"select v from own_{number}").fetchall()[0] for number in range(8)} == {(times,)}


def test_committed_rows_are_there_after_the_server_was_killed(
    new_root: Callable[[], Path], connect_to: Connect
) -> None:
    root = new_root()
    with running_server(root) as server:
        connection = connect_to(server)
        connection.cursor().execute("create table survivor as select 1 as v")
        connection.cursor().execute("begin")
        connection.cursor().execute("insert into survivor values (2)")
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(SECONDS)
    with running_server(root) as server, connect_to(server) as connection:
        assert connection.cursor().execute("select v from survivor").fetchall() == [(1,)]


def test_a_server_that_is_stopped_cancels_what_runs_and_keeps_what_is_committed(
    new_root: Callable[[], Path], connect_to: Connect, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    root = new_root()
    with running_server(root) as server:
        connection = connect_to(server)
        connection.cursor().execute("create table before as select 1 as v")
        running = pool.submit(connection.cursor().execute, ENDLESS)
        with pytest.raises(concurrent.futures.TimeoutError):
            running.result(0.5)
    with pytest.raises(Error) as cancelled:
        running.result(SECONDS)
    assert cancelled.value.errno == 604
    assert server.process.returncode == 0
    assert not list((root / "data").glob("*.wal"))  # all is in the files
