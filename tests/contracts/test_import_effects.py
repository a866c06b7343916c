"""Importing the package only declares: it reads no environment, starts nothing, writes nothing, connects to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import repository_root
from tests.support.package_source import PACKAGE, modules_of

# Runs in a process of its own. What dependencies do when they are imported is theirs: they are imported first, by a
# first pass; then our modules are forgotten and imported again, watched.
_WATCHED_IMPORT = r"""
import importlib, json, os, sys, threading

names, package = json.loads(sys.argv[1]), sys.argv[2]
for name in names:
    importlib.import_module(name)
for name in [name for name in sys.modules if name == package or name.startswith(package + ".")]:
    del sys.modules[name]

seen, threads = [], set(threading.enumerate())


def ours(through_others):
    # The line of ours that did it: by itself, or also through a dependency that it called.
    frame = sys._getframe(2)
    while frame:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(package):
            return f"{module}:{frame.f_lineno}"
        if not through_others and module.partition(".")[0] not in sys.stdlib_module_names | {"__main__"}:
            return None
        frame = frame.f_back


class Watched(dict):
    def _note(self, name):
        # What pydantic looks up while a class of ours is made is pydantic's affair.
        if where := ours(through_others=False):
            seen.append(f"{where} reads {name} from the environment")

    def __getitem__(self, name):
        self._note(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self._note(name)
        return super().get(name, default)

    def __contains__(self, name):
        self._note(name)
        return super().__contains__(name)

    def __iter__(self):
        self._note("everything")
        return super().__iter__()

    def items(self):
        self._note("everything")
        return super().items()

    def copy(self):
        self._note("everything")
        return super().copy()


EFFECTS = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "socket.connect",
           "socket.bind", "socket.getaddrinfo", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod",
           "os.putenv", "os.unsetenv", "os.symlink", "os.link", "shutil.copyfile", "shutil.rmtree", "tempfile.mkstemp",
           "tempfile.mkdtemp", "sqlite3.connect", "os.kill", "os.listdir", "os.scandir"}


def watch(event, arguments):
    if event == "open":
        path = arguments[0]
        code = str(path).endswith((".py", ".pyc")) or ".pyc." in str(path)  # what importing itself reads and writes
        if not code and (where := ours(through_others=True)):
            seen.append(f"{where} opens {path}")
    elif event in EFFECTS and (where := ours(through_others=True)):
        by_importlib = event in ("os.listdir", "os.mkdir", "os.rename", "os.scandir") and any(
            part in str(arguments) for part in ("__pycache__", package)
        )
        if not by_importlib:
            seen.append(f"{where} does {event} {arguments!r}"[:300])


real = dict(os.environ)
os.environ = Watched(real)
sys.addaudithook(watch)
for name in names:
    importlib.import_module(name)
found = list(seen)
found += [f"a thread was started: {thread.name}" for thread in set(threading.enumerate()) - threads]
sys.stdout.write(json.dumps(found))
"""


def watched_import(names: list[str], package: str, folder: Path, path: Path) -> list[str]:
    ended = subprocess.run(
        [sys.executable, "-c", _WATCHED_IMPORT, json.dumps(names), package],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: list[str] = json.loads(ended.stdout)
    return found


def test_importing_every_module_has_no_effect(tmp_path: Path) -> None:
    names = sorted(modules_of())

    assert watched_import(names, PACKAGE, tmp_path, repository_root()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("import os\nX = os.environ.get('HOME')", "reads HOME"),
        ("import os\nX = os.getenv('HOME')", "reads HOME"),
        ("import os\nX = {**os.environ}", "reads"),
        ("import subprocess\nsubprocess.run(['true'])", "subprocess.Popen"),
        ("open('written', 'w').close()", "opens written"),
        ("X = open('/etc/hostname').read()", "opens /etc/hostname"),
        ("import tempfile\nX = tempfile.mkdtemp()", "tempfile.mkdtemp"),
        ("import socket\nsocket.socket().bind(('127.0.0.1', 0))", "socket.bind"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "a thread"),
    ],
)
def test_the_watch_sees_an_effect(tmp_path: Path, statement: str, told: str) -> None:
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "__init__.py").write_text("")
    (tmp_path / "busy" / "module.py").write_text(f"{statement}\n")

    assert told in "\n".join(watched_import(["busy.module"], "busy", tmp_path, tmp_path))
