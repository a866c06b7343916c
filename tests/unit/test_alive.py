"""The check that a platform makes in a container every few seconds: it says alive or not, and costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dagster_apollo.code_host.directory import Directory
from dagster_apollo.code_host.directory_server import DirectoryServer
from dagster_apollo.host.alive import HEARTBEAT_FILE, main, why_not_alive
from tests.support.ports import free_port


def test_a_daemon_lives_as_long_as_it_touches_its_file(tmp_path: Path) -> None:
    environ = {"APOLLO_STATE_DIR": str(tmp_path)}
    assert "has not started" in (why_not_alive("daemon", environ) or "")

    (tmp_path / HEARTBEAT_FILE).touch()
    assert why_not_alive("daemon", environ) is None

    an_hour_ago = time.time() - 3600
    os.utime(tmp_path / HEARTBEAT_FILE, (an_hour_ago, an_hour_ago))
    assert "3600 s old" in (why_not_alive("daemon", environ) or "")


@pytest.mark.parametrize("role", ["webserver", "code"])
def test_who_listens_lives_as_long_as_it_answers(role: str) -> None:
    port = free_port()
    environ = {"PORT": str(port)}
    with DirectoryServer("127.0.0.1", port, Directory(())):
        assert why_not_alive(role, environ) is None
    assert f"127.0.0.1:{port}/livez does not answer" in (why_not_alive(role, environ) or "")


@pytest.mark.parametrize("words", [[], ["postgres"], ["code", "daemon"]])
def test_another_role_is_wrong_usage(words: list[str]) -> None:
    assert main(words) == 2


def test_it_needs_the_standard_library_alone() -> None:
    program = (
        "import sys\n"
        "from dagster_apollo.host import alive\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(roots - set(sys.stdlib_module_names)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    theirs = {name for name in ended.stdout.split() if not name.startswith(("_", "sitecustomize"))}
    assert theirs <= {"dagster_apollo"}
