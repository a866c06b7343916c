"""What runs print, kept where every process finds it: in the instance's Postgres, in chunks, for a set time.

Captured in a file beside the run and uploaded every few seconds, what is new of it alone; read from the database, so
that the webserver shows it while it comes, from another machine, and after a deploy. On SQLite, Dagster's own local
files do: everything is on one machine there.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy
from dagster import DagsterInstance

from dagster_apollo.host.compute_log_table import CHUNKS
from dagster_apollo.host.dagster_internals import (
    IO_TYPE_EXTENSION,
    CapturedLogContext,
    CapturedLogSubscription,
    CloudStorageComputeLogManager,
    ComputeIOType,
    ComputeLogManager,
    ConfigurableClass,
    ConfigurableClassData,
    LocalComputeLogManager,
    PollingComputeLogSubscriptionManager,
    redirect_to_file,
)
from dagster_apollo.runs.patience import PATIENCE_SECONDS, Patience
from dagster_apollo.runs.place import database_url
from dagster_apollo.runs.pools import pool_of

UPLOAD_SECONDS = 3
CHUNK_BYTES = 1 << 20
# What one stream may take: a loop that prints would fill the database.
LARGEST_STREAM_BYTES = 50 << 20
_PATIENCE_SECONDS = PATIENCE_SECONDS
_log = logging.getLogger("dagster_apollo.compute_logs")


class FileComputeLogs(LocalComputeLogManager):
    """Dagster's own files, captured without a `tail` and a Python process for each stream of each step.

    Those repeat in the process's log what a step prints. It is read where the run is: in the run.
    """

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        """Have what this process and its children print go to the key's files, until the block ends."""
        with ExitStack() as stack:
            for kind, stream in ((ComputeIOType.STDOUT, sys.stdout), (ComputeIOType.STDERR, sys.stderr)):
                file = Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))
                file.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(redirect_to_file(stream, str(file)))
            yield CapturedLogContext(log_key)
        Path(self.complete_artifact_path(log_key)).touch()


class PostgresComputeLogManager(CloudStorageComputeLogManager[DagsterInstance], ConfigurableClass):
    """Compute logs in Postgres.

    Args:
        url: the instance's database.
        folder: where streams are captured, and where the webserver puts what somebody downloads.
        inst_data: how `dagster.yaml` named it.
    """

    def __init__(self, url: str, folder: Path, inst_data: ConfigurableClassData | None = None) -> None:
        self._pool = pool_of(url)
        self._local = FileComputeLogs(str(folder))
        self._subscriptions = PollingComputeLogSubscriptionManager(self)
        self._uploading = threading.Lock()
        self._inst_data = inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PostgresComputeLogManager:
        url = database_url(os.environ)
        assert url is not None  # noqa: S101  `InstanceComputeLogs` chooses
        return cls(url, _folder(), inst_data)

    @property
    def local_manager(self) -> LocalComputeLogManager:
        return self._local

    @property
    def upload_interval(self) -> int | None:
        return UPLOAD_SECONDS

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        """Have what this process and its children print go to the database; no file of it is left, and no folder."""
        with super().capture_logs(log_key) as context:
            yield context
        file = Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[ComputeIOType.STDERR]))
        for folder in list(file.parents)[: len(log_key) - 1]:
            with suppress(OSError):  # another step of the run is at work
                folder.rmdir()

    def cloud_storage_has_logs(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> bool:
        """Whether all of a stream is in the database; with `partial`, whether anything of it is."""
        chosen = sqlalchemy.select(CHUNKS.c.position).where(*_of(log_key, io_type))
        if not partial:
            chosen = chosen.where(CHUNKS.c.complete)
        with self._pool.engine.connect() as connection:
            return connection.execute(chosen.limit(1)).first() is not None

    def upload_to_cloud_storage(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> None:
        """Add what the stream's file holds beyond what the database does; not `partial`: and say that it is all.

        A database that is away is waited for at the end, as the run's events do; one that stays away costs the output,
        never the run.
        """
        patience = Patience(0.0 if partial else _PATIENCE_SECONDS)
        try:
            with self._uploading:  # the thread that uploads what is new may still be at it when the end comes
                patience.call(lambda: self._upload(log_key, io_type, whole=not partial))
        except sqlalchemy.exc.SQLAlchemyError as error:
            _log.warning("compute logs of %s cannot be stored: %s", "/".join(log_key), type(error).__name__)

    def _upload(self, log_key: Sequence[str], io_type: ComputeIOType, *, whole: bool) -> None:
        file = Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type]))
        with self._pool.engine.connect() as connection:
            position, complete = _end_of(connection, log_key, io_type)
            if complete:
                return
            if file.exists():
                with file.open("rb") as stream:
                    stream.seek(position)
                    while position < LARGEST_STREAM_BYTES and (content := stream.read(CHUNK_BYTES)):
                        _add(connection, log_key, io_type, position, content)
                        position += len(content)
            if whole:
                _add(connection, log_key, io_type, position, b"", complete=True)

    def download_from_cloud_storage(
        self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False
    ) -> None:
        """Put a stream into a file, for Dagster's download link."""
        file = Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type], partial=partial))
        file.parent.mkdir(parents=True, exist_ok=True)
        whole = file.with_name(f"{file.name}.{os.getpid()}.download")
        with self._pool.engine.connect() as connection, whole.open("wb") as out:
            position = 0
            while content := _read(connection, log_key, io_type, position, CHUNK_BYTES):
                out.write(content)
                position += len(content)
        whole.replace(file)

    def get_log_data_for_type(
        self, log_key: Sequence[str], io_type: ComputeIOType, offset: int, max_bytes: int | None
    ) -> tuple[bytes | None, int]:
        """From the file where it is being captured, else from the database: no file is made for a look."""
        file = Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type]))
        if file.exists() and not self._local.is_capture_complete(log_key):
            content: bytes | None = self._local.read_path(str(file), offset, max_bytes)[0]
        else:
            with self._pool.engine.connect() as connection:
                content = _read(connection, log_key, io_type, offset, max_bytes)
        return content, offset + len(content or b"")

    def is_capture_complete(self, log_key: Sequence[str]) -> bool:
        if self._local.is_capture_complete(log_key):
            return True
        file = Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[ComputeIOType.STDERR]))
        # Who captures it knows without the database, whose absence would end the thread that uploads.
        return not file.exists() and self.cloud_storage_has_logs(log_key, ComputeIOType.STDERR)

    def get_log_keys_for_log_key_prefix(
        self, log_key_prefix: Sequence[str], io_type: ComputeIOType
    ) -> Sequence[list[str]]:
        """The keys one part longer than a prefix, as a folder's files."""
        beginning = "/".join(log_key_prefix) + "/"
        chosen = sqlalchemy.select(CHUNKS.c.log_key).distinct()
        chosen = chosen.where(CHUNKS.c.stream == IO_TYPE_EXTENSION[io_type])
        chosen = chosen.where(sqlalchemy.func.starts_with(CHUNKS.c.log_key, beginning))
        with self._pool.engine.connect() as connection:
            names = [str(key).removeprefix(beginning) for (key,) in connection.execute(chosen)]
        return [[*log_key_prefix, name] for name in names if "/" not in name]

    def delete_logs(self, log_key: Sequence[str] | None = None, prefix: Sequence[str] | None = None) -> None:
        """Remove one key's streams, or all below a prefix."""
        self._local.delete_logs(log_key=log_key, prefix=prefix)
        key = "/".join(log_key or prefix or ())
        chosen = CHUNKS.c.log_key == key if log_key else sqlalchemy.func.starts_with(CHUNKS.c.log_key, f"{key}/")
        with self._pool.engine.connect() as connection:
            connection.execute(CHUNKS.delete().where(chosen))

    def download_url_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str | None:
        if self.is_capture_complete(log_key):
            return str(self._local.get_captured_log_download_url(log_key, io_type))
        return None

    def display_path_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str:
        return f"Postgres: {'/'.join(log_key)}.{IO_TYPE_EXTENSION[io_type]}"

    def on_subscribe(self, subscription: CapturedLogSubscription) -> None:
        self._subscriptions.add_subscription(subscription)

    def on_unsubscribe(self, subscription: CapturedLogSubscription) -> None:
        self._subscriptions.remove_subscription(subscription)

    def dispose(self) -> None:
        self._subscriptions.dispose()
        super().dispose()


class InstanceComputeLogs(ComputeLogManager[DagsterInstance], ConfigurableClass):
    """What `dagster.yaml` names: Postgres where DAGSTER_PG_URI is set, files under DAGSTER_HOME where it is not."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> ComputeLogManager[DagsterInstance]:
        if database_url(os.environ):
            return PostgresComputeLogManager.from_config_value(inst_data, config_value)
        home = Path(os.environ.get("DAGSTER_HOME") or tempfile.gettempdir())
        return FileComputeLogs(str(home / "storage"), inst_data=inst_data)


def remove_old_logs(url: str, days: int) -> int:
    """Remove what was written longer ago than that; how many chunks it was."""
    age = sqlalchemy.func.now() - sqlalchemy.func.make_interval(0, 0, 0, days)
    with pool_of(url).engine.connect() as connection:
        return int(connection.execute(CHUNKS.delete().where(CHUNKS.c.written_at < age)).rowcount)


def remove_captured(run_id: str) -> None:
    """Remove what was captured of a run of this process's user that was killed."""
    shutil.rmtree(_folder() / run_id, ignore_errors=True)


def _folder() -> Path:
    """Of this process's user alone, in memory where the platform keeps /tmp there."""
    return Path(tempfile.gettempdir()) / f"apollo-compute-logs-{os.getuid()}"


def _of(log_key: Sequence[str], io_type: ComputeIOType) -> tuple[Any, ...]:
    return CHUNKS.c.log_key == "/".join(log_key), CHUNKS.c.stream == IO_TYPE_EXTENSION[io_type]


def _end_of(connection: sqlalchemy.Connection, log_key: Sequence[str], io_type: ComputeIOType) -> tuple[int, bool]:
    """How many bytes of a stream are there, and whether they are all."""
    last = (
        sqlalchemy.select(CHUNKS.c.position + sqlalchemy.func.length(CHUNKS.c.content), CHUNKS.c.complete)
        .where(*_of(log_key, io_type))
        .order_by(CHUNKS.c.position.desc())
        .limit(1)
    )
    row = connection.execute(last).first()
    return (int(row[0]), bool(row[1])) if row else (0, False)


def _add(
    connection: sqlalchemy.Connection,
    log_key: Sequence[str],
    io_type: ComputeIOType,
    position: int,
    content: bytes,
    *,
    complete: bool = False,
) -> None:
    values = {
        "log_key": "/".join(log_key),
        "stream": IO_TYPE_EXTENSION[io_type],
        "position": position,
        "content": content,
        "complete": complete,
    }
    connection.execute(CHUNKS.insert().values(values))


def _read(
    connection: sqlalchemy.Connection, log_key: Sequence[str], io_type: ComputeIOType, offset: int, limit: int | None
) -> bytes | None:
    """Bytes of a stream from an offset on; None: there are none."""
    end = CHUNKS.c.position + sqlalchemy.func.length(CHUNKS.c.content)
    chosen = sqlalchemy.select(CHUNKS.c.position, CHUNKS.c.content).where(*_of(log_key, io_type), end > offset)
    if limit is not None:
        chosen = chosen.where(CHUNKS.c.position < offset + limit)
    parts = [
        bytes(content)[max(offset - position, 0) :]
        for position, content in connection.execute(chosen.order_by(CHUNKS.c.position))
    ]
    found = b"".join(parts)
    return (found if limit is None else found[:limit]) or None
