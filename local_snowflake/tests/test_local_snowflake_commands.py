"""The command line: serving, administering an account that is not served, and a laptop's first start."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from snowflake_clients import SECONDS, Connect, KeyPair

from local_snowflake.testing import PACKAGE_FOLDER, Server, interpreter, run_command, running_server


@pytest.fixture
def root(new_root: Callable[[], Path]) -> Path:
    return new_root()


def users(root: Path) -> dict[str, dict[str, object]]:
    return json.loads((root / "account.json").read_text())["users"]


def test_a_user_is_made_and_its_keys_are_rotated(root: Path, key_pairs: dict[str, KeyPair]) -> None:
    def run(*arguments: str | Path) -> None:
        done = run_command("user", "etl", "--root", root, *arguments)
        assert done.returncode == 0, done.stderr

    run("--key", key_pairs["a"].public_file, "--role", "TRANSFORMER", "--default-role", "TRANSFORMER")
    run("--key2", key_pairs["b"].public_file)
    assert set(users(root)["ETL"]["keys"]) == {"RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2"}
    run("--unset", "RSA_PUBLIC_KEY")
    assert set(users(root)["ETL"]["keys"]) == {"RSA_PUBLIC_KEY_2"}
    assert users(root)["ETL"]["roles"] == ["TRANSFORMER"]


def test_the_account_file_is_its_owners_alone(root: Path) -> None:
    assert stat.S_IMODE((root / "account.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--role", "NOPE"], "Role 'NOPE' does not exist"),
        (["--key", __file__], "Invalid public key"),
        (["--unset", "PASSWORD"], "PASSWORD is not a key slot"),
    ],
)
def test_what_is_wrong_with_a_user_is_said_without_a_traceback(root: Path, arguments: list[str], text: str) -> None:
    done = run_command("user", "etl", "--root", root, *arguments)
    assert done.returncode != 0
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["role", "R"], ["warehouse", "W"], ["user", "U"], ["serve", "--port", "0"], ["up", "--port", "0"]]
)
def test_a_folder_belongs_to_one_server_at_a_time(server: Server, arguments: list[str]) -> None:
    done = run_command(*arguments, "--root", server.root)
    assert done.returncode == 1
    assert f"{server.root} is in use by the process {server.process.pid}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command in ("serve", "up"):
            done = run_command(command, "--root", tmp_path / command, "--port", str(port))
            assert done.returncode == 1
            assert f"127.0.0.1:{port} can't be bound" in done.stderr
            assert "Traceback" not in done.stderr


def test_settings_that_are_wrong_are_all_named_at_once(tmp_path: Path) -> None:
    wrong = {"LOCAL_SNOWFLAKE_LOCK_TIMEOUT_SECONDS": "soon", "LOCAL_SNOWFLAKE_LOCK_TIMEOUT": "3"}
    with pytest.raises(RuntimeError) as failed, running_server(tmp_path, settings=wrong):
        pass
    assert "LOCAL_SNOWFLAKE_LOCK_TIMEOUT_SECONDS must be a positive number of seconds, not 'soon'" in str(failed.value)
    assert "LOCAL_SNOWFLAKE_LOCK_TIMEOUT is not a setting" in str(failed.value)


def test_a_server_has_the_databases_it_is_given_and_keeps_those_made_by_sql(root: Path, connect_to: Connect) -> None:
    with running_server(root, databases=("ANALYTICS", "RAW")) as server, connect_to(server) as connection:
        connection.cursor().execute("create database marts")
        connection.cursor().execute("create table marts.PUBLIC.t as select 1 as a")
    with running_server(root) as server, connect_to(server) as connection:
        names = [row[1] for row in connection.cursor().execute("show databases").fetchall()]
        assert names == ["ANALYTICS", "MARTS", "RAW"]
        assert connection.cursor().execute("select a from marts.PUBLIC.t").fetchall() == [(1,)]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], dict[str, str]]]]:
    """Starts `up` on a folder, and gives its process and the variables that it printed."""
    processes = []

    def start() -> tuple[subprocess.Popen[str], dict[str, str]]:
        output = tmp_path / f"up-{len(processes)}.out"
        with output.open("w") as out, (tmp_path / "up.log").open("a") as log:
            process = subprocess.Popen(
                [str(interpreter()), "-m", "local_snowflake", "up", "--root", str(tmp_path / "root"), "--port", "0"],
                env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
                stdout=out,
                stderr=log,
                text=True,
            )
        processes.append(process)
        end = time.monotonic() + SECONDS
        while "ready http://" not in output.read_text():
            assert process.poll() is None, (tmp_path / "up.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        exports = [line for line in output.read_text().splitlines() if line.startswith("export ")]
        assert (tmp_path / "root" / "env").read_text().splitlines() == exports
        return process, dict(shlex.split(line)[1].split("=", 1) for line in exports)

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait(SECONDS)


def test_a_laptops_first_start_makes_all_that_dbt_needs_and_the_next_one_keeps_it(
    up: Callable[[], tuple[subprocess.Popen[str], dict[str, str]]], connect_to: Connect
) -> None:
    process, first = up()
    assert first["DBT_TARGET"] == "dev"
    assert first["SNOWFLAKE_PROTOCOL"] == "http"
    key_file = Path(first["SNOWFLAKE_PRIVATE_KEY_PATH"])
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert key_file.read_text().startswith("-----BEGIN PRIVATE KEY-----")

    def connect(variables: dict[str, str], running: subprocess.Popen[str]):
        server = Server(
            variables["SNOWFLAKE_HOST"],
            int(variables["SNOWFLAKE_PORT"]),
            variables["SNOWFLAKE_ACCOUNT"],
            key_file.parent,
            running,
        )
        names = ("account", "user", "role", "warehouse", "database")
        given = {name: variables[f"SNOWFLAKE_{name.upper()}"] for name in names}
        return connect_to(server, private_key=None, private_key_file=variables["SNOWFLAKE_PRIVATE_KEY_PATH"], **given)

    with connect(first, process) as connection:
        row = connection.cursor().execute("select current_user(), current_role(), current_warehouse()").fetchone()
        assert row == ("APOLLO", "TRANSFORMER", "COMPUTE_WH")
        connection.cursor().execute("create table ANALYTICS.PUBLIC.kept as select 1 as a")
    key = key_file.read_bytes()
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0

    process, second = up()
    assert key_file.read_bytes() == key
    with connect(second, process) as connection:
        assert connection.cursor().execute("select a from ANALYTICS.PUBLIC.kept").fetchall() == [(1,)]
