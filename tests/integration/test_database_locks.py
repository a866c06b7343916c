"""Locks that every process of an instance sees, and that go with the process that held them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagster_apollo.runs.daemon_lock import LOCK, LOST_EXIT_CODE, only_daemon
from dagster_apollo.runs.database_locks import Locks, locks_of
from dagster_apollo.runs.kept_lock import KeptLock
from tests.support.postgres import Postgres
from tests.support.stack import REPOSITORY
from tests.support.webserver import wait_until

HOLDER = """\
import signal, sys, time
from pathlib import Path
from dagster_apollo.runs.database_locks import locks_of

held = locks_of({"DAGSTER_PG_URI": sys.argv[1]}, Path(sys.argv[2])).take(sys.argv[3])
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # who starts the tests may ignore it, and that is inherited
print("held" if held else "refused", flush=True)
time.sleep(600)
"""


@pytest.fixture(params=["postgres", "files"])
def environ(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "files":
        return {}
    server: Postgres = request.getfixturevalue("postgres")
    return {"DAGSTER_PG_URI": server.url()}


@pytest.fixture
def locks(environ: dict[str, str], tmp_path: Path) -> Locks:
    return locks_of(environ, tmp_path)


@pytest.fixture
def hold(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Another process that takes a lock and keeps it; what it says of it is its first line."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", HOLDER, environ.get("DAGSTER_PG_URI", ""), str(tmp_path), name]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_one_process_has_it_and_the_others_see_that(locks: Locks, hold: Callable[[str], subprocess.Popen[str]]) -> None:
    assert said(hold("one")) == "held"
    assert said(hold("one")) == "refused"

    assert locks.take("one") is None
    assert locks.held(["one", "two"]) == {"one"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_it_is_gone_with_its_process(
    locks: Locks, hold: Callable[[str], subprocess.Popen[str]], number: signal.Signals
) -> None:
    holder = hold("one")
    assert said(holder) == "held"
    holder.send_signal(number)
    holder.wait()

    wait_until(lambda: not locks.held(["one"]), "the lock is gone", 20)
    again = locks.take("one")
    assert again
    again.release()
    assert locks.held(["one"]) == set()


def test_what_is_done_alone_waits_for_who_does_it(locks: Locks, environ: dict[str, str], tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom dagster_apollo.runs.database_locks import locks_of\n"
        "locks, file = locks_of({'DAGSTER_PG_URI': sys.argv[1]}, Path(sys.argv[2])), Path(sys.argv[2], 'number')\n"
        "for _ in range(50):\n"
        "    with locks.alone('counting'):\n"
        "        file.write_text(str(int(file.read_text()) + 1))\n"
    )
    (tmp_path / "number").write_text("0")
    words = [sys.executable, "-c", program, environ.get("DAGSTER_PG_URI", ""), str(tmp_path)]

    both = [subprocess.Popen(words, cwd=REPOSITORY) for _ in range(2)]

    assert [process.wait(120) for process in both] == [0, 0]
    assert (tmp_path / "number").read_text() == "100"


def test_a_lock_that_broke_with_its_connection_is_taken_again(postgres: Postgres) -> None:
    locks = locks_of({"DAGSTER_PG_URI": postgres.url()}, Path("/nonexistent"))
    seen: list[bool | None] = []

    with KeptLock(locks, "kept", 0.05, seen.append):
        wait_until(lambda: True in seen, "it is held", 20)
        ends = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objsubid = 2"
        assert postgres.rows(ends)
        seen.clear()
        wait_until(lambda: True in seen, "it is held again", 20)
        assert locks.held(["kept"])
    assert not locks.held(["kept"])


def test_a_second_daemon_acts_when_the_first_has_ended(
    locks: Locks, hold: Callable[[str], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_apollo.runs.daemon_lock.HANDOVER_SECONDS", 0.1)
    first = hold(LOCK)
    assert said(first) == "held"
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        first.kill()  # once the second says that it waits

    with only_daemon(locks, tell):
        assert first.wait() == -signal.SIGKILL
        assert locks.held([LOCK])
    assert ["waits" in line for line in told] == [True, False]


def test_a_daemon_whose_lock_another_has_got_ends_at_once(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dagster_apollo.runs.daemon_lock.LOOK_SECONDS", 0.2)
    locks = locks_of({"DAGSTER_PG_URI": postgres.url()}, tmp_path)
    another = locks_of({"DAGSTER_PG_URI": postgres.url()}, tmp_path)
    ended: list[int] = []

    with only_daemon(locks, lambda line: None, ended.append):
        got = None
        while got is None:  # as after a server's restart: whoever comes first
            postgres.rows("select pg_terminate_backend(pid) from pg_locks where locktype='advisory' and objsubid = 2")
            got = another.take(LOCK)
        wait_until(lambda: ended, "it ends", 20)
        got.release()
    assert ended[0] == LOST_EXIT_CODE
