"""`apollo backup` and `apollo restore`: what comes back, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import stat
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
from dagster._core.instance.ref import InstanceRef

from dagster_apollo.host.backup import Contents, back_up, contents, restore
from dagster_apollo.host.postgres_programs import BackupError, PostgresPrograms
from tests.support.postgres import Postgres
from tests.support.stack import BIN, bare_environment, run_to_its_end

BOTTLES, CASKS = dg.AssetKey("bottles"), dg.AssetKey("casks")


@dg.asset(name="bottles")
def bottles() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 42})


@dg.asset(name="casks")
def casks() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 7})


@pytest.fixture
def database(postgres: Postgres) -> Postgres:
    """A database of its own, empty."""
    name = f"backup_{uuid.uuid4().hex[:8]}"
    execute(postgres, f"create database {name}")
    return replace(postgres, database=name)


@pytest.fixture
def programs(database: Postgres, tmp_path: Path) -> PostgresPrograms:
    return PostgresPrograms.by_url(database.url(), bare_environment(tmp_path))


@contextmanager
def dagster_on(database: Postgres, folder: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster with its records in the database."""
    folder.mkdir(exist_ok=True)
    overrides = {"storage": {"postgres": {"postgres_url": database.url()}}}
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=overrides)) as instance:
        yield instance


def build(database: Postgres, folder: Path, *assets: dg.AssetsDefinition) -> str:
    """Materialize assets; the run's id."""
    with dagster_on(database, folder) as instance:
        return dg.materialize(list(assets), instance=instance).run_id


def latest(database: Postgres, folder: Path, key: dg.AssetKey) -> tuple[str, object] | None:
    """The run that built an asset last, and the rows that it told of; None: Dagster does not know the asset."""
    with dagster_on(database, folder) as instance:
        event = instance.get_latest_materialization_event(key)
        if event is None or event.asset_materialization is None:
            return None
        return event.run_id, event.asset_materialization.metadata["rows"].value


def test_a_restore_brings_back_runs_and_assets_and_takes_away_what_came_after(
    database: Postgres, programs: PostgresPrograms, tmp_path: Path
) -> None:
    home, file = tmp_path / "dagster", tmp_path / "backup.dump"
    first = build(database, home, bottles)
    saved = back_up(programs, file)
    build(database, home, bottles, casks)
    database_before = contents(programs)

    restored = restore(programs, file, overwrite=True, daemon_stopped=True)

    assert database_before == Contents(runs=2, in_progress=0, assets=2, events=database_before.events)
    assert restored == saved == Contents(runs=1, in_progress=0, assets=1, events=saved.events)
    assert saved.events > 5
    assert latest(database, home, BOTTLES) == (first, 42)
    assert latest(database, home, CASKS) is None
    assert build(database, home, casks)  # and it goes on from there


def test_a_database_that_lost_everything_comes_back(
    database: Postgres, programs: PostgresPrograms, tmp_path: Path
) -> None:
    home, file = tmp_path / "dagster", tmp_path / "backup.dump"
    first = build(database, home, bottles)
    back_up(programs, file)
    execute(database, "drop schema public cascade")

    restore(programs, file)

    assert latest(database, home, BOTTLES) == (first, 42)


def test_a_backup_is_for_its_owners_eyes_and_is_not_replaced_unasked(
    database: Postgres, programs: PostgresPrograms, tmp_path: Path
) -> None:
    build(database, tmp_path / "dagster", bottles)
    file = tmp_path / "backup.dump"
    back_up(programs, file)
    first = file.read_bytes()

    with pytest.raises(BackupError, match="is there already"):
        back_up(programs, file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes() == first
    back_up(programs, file, overwrite=True)
    assert [path.name for path in tmp_path.iterdir() if "backup.dump" in path.name] == ["backup.dump"]


def test_a_database_without_dagsters_tables_is_not_backed_up(programs: PostgresPrograms, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="has no tables of Dagster's"):
        back_up(programs, tmp_path / "backup.dump")

    assert list(tmp_path.glob("*backup.dump*")) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no archive"),
        (b"not a dump", "is no archive"),
        (None, "is not a file"),
    ],
    ids=["empty", "something-else", "missing"],
)
def test_a_file_that_is_no_backup_is_refused(
    programs: PostgresPrograms, tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "backup.dump"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(BackupError, match=told):
        restore(programs, file, overwrite=True)


@pytest.mark.parametrize(
    ("part", "told"), [("its end", "is no archive"), ("its data", "could not be restored")], ids=["cut", "damaged"]
)
def test_a_backup_that_is_not_whole_changes_nothing(
    database: Postgres, programs: PostgresPrograms, tmp_path: Path, part: str, told: str
) -> None:
    home, file = tmp_path / "dagster", tmp_path / "backup.dump"
    build(database, home, bottles)
    back_up(programs, file)
    second = build(database, home, bottles)
    before = contents(programs)
    saved = file.read_bytes()
    whole = len(saved)
    if part == "its end":
        file.write_bytes(saved[: whole * 2 // 3])
    else:  # the list of contents, which stands first, stays readable
        file.write_bytes(saved[: whole - 2000] + b"\xff" * 1000 + saved[whole - 1000 :])

    with pytest.raises(BackupError, match=told):
        restore(programs, file, overwrite=True, daemon_stopped=True)

    assert contents(programs) == before
    assert latest(database, home, BOTTLES) == (second, 42)


def test_runs_are_not_lost_unasked(database: Postgres, programs: PostgresPrograms, tmp_path: Path) -> None:
    home, file = tmp_path / "dagster", tmp_path / "backup.dump"
    build(database, home, bottles)
    back_up(programs, file)

    with pytest.raises(BackupError, match=r"holds 1 runs \(0 in progress\).*which would be lost"):
        restore(programs, file)


def test_who_still_uses_the_database_is_named(database: Postgres, programs: PostgresPrograms, tmp_path: Path) -> None:
    home, file = tmp_path / "dagster", tmp_path / "backup.dump"
    build(database, home, bottles)
    back_up(programs, file)
    execute(
        database,
        "insert into daemon_heartbeats (daemon_type, timestamp) values ('SCHEDULER', now() at time zone 'utc')",
    )
    session = psycopg2.connect(database.url())
    try:
        with pytest.raises(BackupError) as refused:
            restore(programs, file, overwrite=True)
    finally:
        session.close()

    told = str(refused.value)
    assert "1 other sessions" in told
    assert "daemon that was alive" in told


def test_the_commands_take_their_database_from_dagster_pg_uri_and_never_show_its_password(
    database: Postgres, tmp_path: Path
) -> None:
    home, file = tmp_path / "dagster", tmp_path / "backup.dump"
    build(database, home, bottles)
    environ = bare_environment(tmp_path, DAGSTER_PG_URI=database.url())

    code, said = run_to_its_end([str(BIN / "apollo"), "backup", str(file)], environ)
    refused, told = run_to_its_end([str(BIN / "apollo"), "restore", str(file)], environ)
    restored, done = run_to_its_end([str(BIN / "apollo"), "restore", "--yes", str(file)], environ)

    assert (code, refused, restored) == (0, 1, 0), said + told + done
    assert "1 runs (0 in progress), 1 assets" in said
    assert "say --yes" in told
    assert database.password not in said + told + done


def test_no_word_of_a_command_holds_the_password(
    database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(database, tmp_path / "dagster", bottles)
    programs = PostgresPrograms.by_url(database.url(), bare_environment(tmp_path))
    words: list[str] = []
    real = subprocess.Popen.__init__

    def recording(self: object, args: list[str], *others: object, **more: object) -> None:
        words.extend(map(str, args))
        real(self, args, *others, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess.Popen, "__init__", recording)
    back_up(programs, tmp_path / "backup.dump")
    restore(programs, tmp_path / "backup.dump", overwrite=True, daemon_stopped=True)

    assert {Path(word).name for word in words} >= {"pg_dump", "pg_restore", "psql"}
    assert not any(database.password in word for word in words)


def test_a_wrong_password_is_told_without_being_shown(database: Postgres, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="password authentication failed") as refused:
        PostgresPrograms.by_url(database.url("wr0ng-passw0rd"), bare_environment(tmp_path))

    assert "wr0ng-passw0rd" not in str(refused.value)


def execute(database: Postgres, sql: str) -> None:
    connection = psycopg2.connect(database.url())
    connection.autocommit = True  # a database is not made in a transaction
    with connection.cursor() as cursor:
        cursor.execute(sql)
    connection.close()
