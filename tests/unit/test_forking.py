"""A fork begins as a new process does, ends as one does, and is refused where it would not be safe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.warm.forking import others_in_group
from tests.support.webserver import wait_until

_FORKING = """\
import atexit, os, signal, sys, tempfile, threading, time
from pathlib import Path
from dagster_apollo.errors import HostError
from dagster_apollo.warm.forking import fork

def forked(child):
    return os.waitstatus_to_exitcode(os.waitpid(fork(child), 0)[1])

"""


def run(program: str, *arguments: str) -> str:
    """What a program prints."""
    ended = subprocess.run(
        [sys.executable, "-c", _FORKING + program, *arguments],
        cwd=repository_root(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def test_the_childs_result_is_its_exit_code() -> None:
    assert run("print(forked(lambda: 7))") == "7\n"


def test_a_process_with_a_thread_is_not_forked_and_the_thread_is_named() -> None:
    said = run(
        "threading.Thread(target=time.sleep, args=(60,), name='heartbeat', daemon=True).start()\n"
        "try:\n    fork(lambda: 0)\nexcept HostError as error:\n    print(error)\n"
    )

    assert "cannot be forked: it has 2 threads (heartbeat)" in said


def test_a_thread_that_python_does_not_know_is_seen_too() -> None:
    said = run(
        "import duckdb\nheld = duckdb.connect(config={'threads': 2})\n"
        "try:\n    fork(lambda: 0)\nexcept HostError as error:\n    print(error)\n"
    )

    assert "threads (none of Python)" in said


def test_a_process_with_a_connection_is_not_forked_and_the_server_is_named() -> None:
    said = run(
        "import socket\n"
        "listening = socket.create_server(('127.0.0.1', 0))\n"
        "held = socket.create_connection(listening.getsockname())\n"
        "try:\n    fork(lambda: 0)\nexcept HostError as error:\n    print(error)\n"
        "print(listening.getsockname()[1])\n"
    )

    assert f"cannot be forked: it has connections to 127.0.0.1:{said.split()[-1]}" in said


def test_an_exception_in_the_child_is_printed_and_never_comes_back_into_the_parents_code() -> None:
    said = run("print(forked(lambda: 1 / 0))\nprint('once')")

    assert "ZeroDivisionError" in said
    assert said.startswith("70\nonce\n") or said.count("once") == 1


def test_the_parents_exit_handlers_are_not_the_childs_and_the_childs_own_are_called(tmp_path: Path) -> None:
    said = run(
        "kept = tempfile.TemporaryDirectory()\n"
        "atexit.register(print, 'parent ends', flush=True)\n"
        "def child():\n"
        "    own = tempfile.TemporaryDirectory(dir=sys.argv[1])\n"
        "    atexit.register(print, 'child ends', flush=True)\n"
        "    threading.Thread(target=lambda: (time.sleep(0.2), print('thread ends', flush=True))).start()\n"
        "    child.own = own\n"
        "    return 0\n"
        "forked(child)\n"
        "print(Path(kept.name).exists(), os.listdir(sys.argv[1]), flush=True)\n",
        str(tmp_path),
    )

    assert said.splitlines()[:4] == ["thread ends", "child ends", "True []", "parent ends"]


def test_the_child_has_the_signals_of_a_new_process() -> None:
    said = run(
        "for number in (signal.SIGTERM, signal.SIGINT):\n    signal.signal(number, lambda *_: None)\n"
        "print(forked(lambda: os.kill(os.getpid(), signal.SIGTERM)))\n"
    )

    assert said == "-15\n"


def test_what_is_buffered_is_printed_once() -> None:
    assert run("sys.stdout.write('before ')\nforked(lambda: print('child') or 0)\nprint('parent')") == (
        "before child\nparent\n"
    )


def test_the_same_work_for_each_of_several_things_comes_back_in_their_order() -> None:
    said = run(
        "from dagster_apollo.warm.forked_work import each_in_a_fork\n"
        "def work(number):\n"
        "    time.sleep(0.2 / (number + 1))\n"
        "    if number == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return [number, os.getpid() != parent]\n"
        "parent = os.getpid()\n"
        "print(each_in_a_fork(work, range(5), 2))\n"
    )

    assert said == "[[0, True], [1, True], None, [3, True], [4, True]]\n"


def test_work_that_fails_is_told_and_the_rest_is_done() -> None:
    said = run(
        "from dagster_apollo.warm.forked_work import each_in_a_fork\n"
        "print(each_in_a_fork(lambda number: 1 / number, range(3), 1))\n"
    )

    assert "ZeroDivisionError" in said
    assert said.startswith("[None, 1.0, 0.5]\n")


def test_who_else_lives_in_a_group_is_known_also_when_its_leader_has_ended() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, process_group=0) as leader:
        assert leader.stdout
        other = int(leader.stdout.readline())
        os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)

        assert others_in_group(leader.pid)
        os.kill(other, signal.SIGKILL)
        wait_until(lambda: not others_in_group(leader.pid), "the other one is gone")
