"""What runs print, in Postgres: whole and in order, while it comes and after its writer is gone."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import sqlalchemy

from dagster_apollo.host import compute_logs
from dagster_apollo.host.compute_log_table import LOG_TABLES
from dagster_apollo.host.compute_logs import PostgresComputeLogManager, remove_old_logs
from dagster_apollo.host.dagster_internals import ComputeIOType
from dagster_apollo.settings import read
from tests.support.postgres import Postgres

OUT, ERR = ComputeIOType.STDOUT, ComputeIOType.STDERR
Logs = Callable[[str], PostgresComputeLogManager]


@pytest.fixture
def url(postgres: Postgres) -> str:
    address = str(read({"DAGSTER_PG_URI": postgres.url()}).text("DAGSTER_PG_URI"))
    LOG_TABLES.create_all(sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool))
    return address


@pytest.fixture
def logs(url: str, tmp_path: Path) -> Logs:
    """The logs as one machine has them: each has a folder of its own."""
    return lambda machine: PostgresComputeLogManager(url, tmp_path / machine)


@pytest.fixture
def key() -> list[str]:
    return [uuid.uuid4().hex, "compute_logs", "a_step"]


def write(logs: PostgresComputeLogManager, key: list[str], out: bytes, err: bytes = b"") -> None:
    for stream, content in (("out", out), ("err", err)):
        file = Path(logs.local_manager.get_captured_local_path(key, stream))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def test_what_a_process_prints_is_read_on_another_machine_and_left_on_none(
    logs: Logs, key: list[str], tmp_path: Path
) -> None:
    with logs("code").capture_logs(key):
        print("to the one", flush=True)  # noqa: T201
        print("to the other", file=sys.stderr, flush=True)  # noqa: T201

    reader = logs("webserver")
    data = reader.get_log_data(key)
    assert (data.stdout or b"").strip() == b"to the one"
    assert (data.stderr or b"").strip() == b"to the other"
    assert reader.is_capture_complete(key)
    assert list((tmp_path / "code").iterdir()) == []


def test_nothing_is_started_to_capture_what_is_printed_by_children_too(
    logs: Logs, key: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with capfd.disabled(), logs("code").capture_logs(key):
        subprocess.run(["/bin/sh", "-c", "echo from a child"], check=True)
        started = {child.pid for child in psutil.Process().children(recursive=True)} - before

    assert started == set()
    assert logs("webserver").get_log_data(key).stdout == b"from a child\n"


def test_it_is_read_while_it_comes(logs: Logs, key: list[str]) -> None:
    writer, reader = logs("code"), logs("webserver")
    write(writer, key, b"one\n")
    writer.on_progress(key)
    first = reader.get_log_data(key)
    write(writer, key, b"one\ntwo\n")
    writer.on_progress(key)
    second = reader.get_log_data(key, first.cursor)

    assert (first.stdout, second.stdout) == (b"one\n", b"two\n")
    assert not reader.is_capture_complete(key)
    assert reader.get_log_data(key, second.cursor).stdout is None


def test_a_long_stream_is_cut_into_chunks_and_read_in_any_steps(
    logs: Logs, key: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute_logs, "CHUNK_BYTES", 7)
    content = bytes(range(256)) * 3
    writer, reader = logs("code"), logs("webserver")
    write(writer, key, content)
    writer.upload_to_cloud_storage(key, OUT)

    for step in (1, 5, 7, 8, 1000, None):
        read_back, offset = b"", 0
        while True:
            part, offset = reader.get_log_data_for_type(key, OUT, offset, step)
            if not part:
                break
            assert step is None or len(part) <= step
            read_back += part
        assert read_back == content
    reader.download_from_cloud_storage(key, OUT)
    assert Path(reader.local_manager.get_captured_local_path(key, "out")).read_bytes() == content


def test_a_stream_without_an_end_is_cut_off(logs: Logs, key: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_logs, "LARGEST_STREAM_BYTES", 10)
    monkeypatch.setattr(compute_logs, "CHUNK_BYTES", 5)
    writer = logs("code")
    write(writer, key, b"0123456789and more")
    writer.upload_to_cloud_storage(key, OUT)

    assert logs("webserver").get_log_data_for_type(key, OUT, 0, None)[0] == b"0123456789"


def test_uploading_again_adds_nothing(logs: Logs, key: list[str]) -> None:
    writer = logs("code")
    write(writer, key, b"once", b"once")
    for _ in range(3):
        writer.upload_to_cloud_storage(key, OUT)

    assert logs("webserver").get_log_data_for_type(key, OUT, 0, None) == (b"once", 4)


def test_the_keys_below_a_prefix_are_known(logs: Logs, key: list[str]) -> None:
    writer = logs("code")
    for name in ("a%", "b_"):
        write(writer, [*key[:2], name], b"x")
        writer.upload_to_cloud_storage([*key[:2], name], OUT)

    assert sorted(logs("webserver").get_log_keys_for_log_key_prefix(key[:2], OUT)) == [
        [*key[:2], "a%"],
        [*key[:2], "b_"],
    ]


def test_deleting_one_key_leaves_the_others(logs: Logs, key: list[str]) -> None:
    writer = logs("code")
    other = [*key[:2], "a_step_more"]
    for one in (key, other):
        write(writer, one, b"x")
        writer.upload_to_cloud_storage(one, OUT)
    writer.delete_logs(log_key=key)

    assert not logs("webserver").cloud_storage_has_logs(key, OUT)
    assert logs("webserver").cloud_storage_has_logs(other, OUT)
    writer.delete_logs(prefix=key[:1])
    assert not logs("webserver").cloud_storage_has_logs(other, OUT)


def test_what_is_older_than_it_may_be_is_removed(logs: Logs, key: list[str], url: str, postgres: Postgres) -> None:
    writer = logs("code")
    old = [uuid.uuid4().hex, "compute_logs", "old"]
    for one in (key, old):
        write(writer, one, b"x")
        writer.upload_to_cloud_storage(one, OUT)
    older = "update apollo_compute_logs set written_at = now() - interval '31 days'"
    postgres.rows(f"{older} where log_key like '{old[0]}/%' returning 1")

    assert remove_old_logs(url, 30) == 2  # a chunk, and the end of its stream
    assert not logs("webserver").cloud_storage_has_logs(old, OUT, partial=True)
    assert logs("webserver").cloud_storage_has_logs(key, OUT)


def test_a_database_that_is_away_costs_the_output_and_not_the_run(
    tmp_path: Path, key: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute_logs, "_PATIENCE_SECONDS", 0.1)
    nowhere = PostgresComputeLogManager("postgresql+psycopg2://u:p@127.0.0.1:1/none", tmp_path)

    with nowhere.capture_logs(key):
        result = 6 * 7

    assert result == 42
