"""Running a local Snowflake from tests: register a user, start a server as a process of its own, stop it again.

It imports the standard library only, because the tests drive the server with dbt-snowflake, and that lives in another
environment than fakesnow. So it can be imported from any environment that has the package's folder on its path.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]
PYTHON_VARIABLE = "LOCAL_SNOWFLAKE_PYTHON"
ACCOUNT = "LOCALACCT"

_START_SECONDS = 60
_STOP_SECONDS = 30
_COMMAND_SECONDS = 60
_READY = "ready "


@dataclass(frozen=True)
class Server:
    """A server that answers, and where a client finds it."""

    host: str
    port: int
    account: str
    root: Path
    process: subprocess.Popen[str]
    protocol: str = "http"


def interpreter(python: Path | None = None) -> Path:
    """The Python that has fakesnow: the given one, the one of LOCAL_SNOWFLAKE_PYTHON, or the package's own `.venv`.

    Raises:
        RuntimeError: there is none; the message says how to make it.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    found = python or (Path(named) if named else PACKAGE_FOLDER / ".venv" / "bin" / "python")
    if not found.exists():
        raise RuntimeError(
            f"{found} does not exist. Make the environment of the local Snowflake as {PACKAGE_FOLDER / 'README.md'} "
            f"says, or name its Python in {PYTHON_VARIABLE}."
        )
    return found


def run_command(*arguments: str | Path, python: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m local_snowflake` with these arguments to its end, whatever its exit code."""
    return subprocess.run(
        _command(python, *arguments),
        env=_environment({}),
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )


def register_user(
    root: Path,
    name: str,
    public_key: Path,
    *,
    role: str,
    warehouse: str,
    python: Path | None = None,
) -> None:
    """Make a user with a public key, a default role and a default warehouse, before a server runs on the folder.

    Args:
        public_key: a PEM file.

    Raises:
        RuntimeError: it was refused; the message is the command's.
    """
    named = ["--role", role, "--default-role", role, "--default-warehouse", warehouse, "--create-missing"]
    done = run_command("user", name, "--root", root, "--key", public_key, *named, python=python)
    if done.returncode:
        raise RuntimeError(f"registering {name} failed:\n{done.stderr}")


@contextlib.contextmanager
def running_server(
    root: Path,
    python: Path | None = None,
    databases: Sequence[str] = ("ANALYTICS",),
    settings: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A server on a free port of the loopback, stopped at the end; its data stay in the folder.

    Args:
        settings: variables of the environment, as `LOCAL_SNOWFLAKE_LOCK_TIMEOUT_SECONDS`.

    Raises:
        RuntimeError: it did not start, or did not stop at SIGTERM; the message has the end of its log.
    """
    root.mkdir(parents=True, exist_ok=True)
    named = [argument for database in databases for argument in ("--database", database)]
    output = root / "server.out"
    with output.open("w") as out, _log_file(root).open("a") as log:
        process = subprocess.Popen(
            _command(python, "serve", "--root", root, "--port", "0", "--account", ACCOUNT, *named),
            env=_environment(settings or {}),
            stdout=out,
            stderr=log,
            text=True,
        )
    try:
        host, port = _wait_until_ready(process, output, root)
        yield Server(host, port, ACCOUNT, root, process)
    finally:
        _stop(process, root)


def _wait_until_ready(process: subprocess.Popen[str], output: Path, root: Path) -> tuple[str, int]:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        line = output.read_text()
        if line.startswith(_READY) and line.endswith("\n"):
            host, _, port = line.removeprefix(f"{_READY}http://").strip().rpartition(":")
            return host, int(port)
        time.sleep(0.05)
    raise RuntimeError(f"the local Snowflake did not start:\n{_end_of_log(root)}")


def _stop(process: subprocess.Popen[str], root: Path) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise RuntimeError(f"the local Snowflake did not stop at SIGTERM:\n{_end_of_log(root)}") from None


def _command(python: Path | None, *arguments: str | Path) -> list[str]:
    return [str(interpreter(python)), "-m", "local_snowflake", *map(str, arguments)]


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server: this one, without the settings and Python paths of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCAL_SNOWFLAKE_", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(PACKAGE_FOLDER), **settings}


def _log_file(root: Path) -> Path:
    return root / "server.log"


def _end_of_log(root: Path) -> str:
    return _log_file(root).read_text()[-3000:]
