"""A secret in every setting that is one; a build, a stack, runs that succeed and that fail: no secret is anywhere.

It may be in the environment of the containers whose roles read it, and in the two files that a person wrote it into.
Each place is searched for a marker too, the name of the tenant that builds, which all of them hold. What a deploy to
Render shows is tests/integration/deploy's, what Pulumi keeps tests/infra's.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from dagster_apollo.new_fork import Answers, write_fork
from dagster_apollo.settings import BY_NAME, Process
from dagster_apollo.topology import DATABASE_NAME, DATABASE_USER
from tests.support.compose import ComposeHost, compose_host
from tests.support.container_engine import ContainerEngine
from tests.support.everything_asked import everything
from tests.support.planted_secrets import DATABASE, SECRET_SETTINGS, Planted, plant
from tests.support.secret_search import ArgumentsSeen, SecretSearch
from tests.support.tenants import write_tenant
from tests.support.webserver import FINAL, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

MARKER, SILENT, REFUSED, ATTACHED, CLOUD = f"marker{secrets.token_hex(6)}", "silent", "refused", "attached", "cloud"
ON_DUCKDB = "warehouse: duckdb\n"
TELLING = "services: [s3]\nnotifications: [{url_variable: FAILURES_URL}]\n"
ON_DBT_CLOUD = "warehouse: dbt_cloud\ndbt_cloud: {account_id: 1, project_id: 2, environment_id: 3}\nschedule: null\n"
# The code host's log holds what a tenant's own Python prints.
OWN_PYTHON = f'import sys\n\nimport dagster as dg\n\nprint("{MARKER}", file=sys.stderr)\ndefs = dg.Definitions()\n'
ROLES: dict[str, Process] = {"dagster-webserver": "webserver", "dagster-daemon": "daemon", "dagster-code": "code"}
CONTAINERS = (*ROLES, DATABASE)
# What of a container outlasts a process, and where its processes write.
FOLDERS = {**dict.fromkeys(ROLES, ("tmp", "var/lib/apollo")), DATABASE: ("tmp", "var/lib/postgresql/data")}
RUN_TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True)
class Lived:
    """A stack that has done its work.

    Attributes:
        build_log: all that the build said.
        arguments: of every process of this machine since before the build.
        runs: ids by what became of them.
        answers: of the webserver, with what was asked.
    """

    host: ComposeHost
    planted: Planted
    search: SecretSearch
    build_log: str
    arguments: ArgumentsSeen
    runs: dict[str, str]
    answers: list[tuple[str, str]]

    def container(self, service: str) -> str:
        """A container's id."""
        found: str = self.host.containers()[service]["Id"]
        return found

    @contextmanager
    def stream(self, *words: str) -> Iterator[IO[bytes]]:
        """The bytes that a `docker` command prints."""
        environ = dict(self.host.engine.environ)
        docker = shutil.which("docker", path=environ["PATH"]) or "docker"
        with subprocess.Popen([docker, *words], env=environ, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            yield process.stdout
            process.stdout.read()
        assert process.returncode == 0, words[:3]


@pytest.fixture(scope="module")
def lived(container_engine: ContainerEngine, module_folder: Path) -> Iterator[Lived]:
    with compose_host(container_engine, module_folder, f"apollo-test-{MARKER}") as host, ArgumentsSeen() as arguments:
        tenants = host.clone / "tenants"
        shutil.rmtree(tenants)
        models = {"first.sql": "select 1 as id", "broken.sql": "select no_such_column from {{ ref('first') }}"}
        write_tenant(tenants, MARKER, {**models, "definitions.py": OWN_PYTHON}, ON_DUCKDB + TELLING)
        for name in (SILENT, REFUSED):
            write_tenant(tenants, name, {"first.sql": "select 1 as id"}, "warehouse: snowflake\nschedule: null\n")
        write_tenant(tenants, ATTACHED, {"first.sql": "select 1 as id"}, ON_DUCKDB + "services: [postgres]\n")
        write_tenant(tenants, CLOUD, {"first.sql": "select 1 as id"}, ON_DBT_CLOUD)
        write_fork(host.clone, Answers({}, {}, domains=("test.invalid",)))  # without a rule there is no provider
        names = {"builds": MARKER, "silent": SILENT, "refused": REFUSED, "attached": ATTACHED, "cloud": CLOUD}
        planted = plant(host.clone, host.stack.credentials, **names)
        search = SecretSearch(planted.secrets, MARKER, module_folder)
        build_log = _build(host)
        host.up()
        host.stack.wait_until_it_serves(MARKER, SILENT, ATTACHED, CLOUD)
        host.stack.assert_strangers_are_refused()
        host.stack.assert_the_login_lets_people_in()
        runs = _runs(host)
        answers = list(everything(host.stack, MARKER, runs, "first"))
        yield Lived(host, planted, search, build_log, arguments, runs, answers)


def _build(host: ComposeHost) -> str:
    where = ["--project-directory", str(host.clone), "--project-name", host.project]
    done = host.run("compose", *where, "--file", str(host.clone / "compose.yaml"), "--progress", "plain", "build")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _runs(host: ComposeHost) -> dict[str, str]:
    webserver = host.stack.webserver
    runs = {
        "success": webserver.launch(MARKER, f"{MARKER}__build", [f"{MARKER}/first"]),
        "dbt's error": webserver.launch(MARKER, f"{MARKER}__build", [f"{MARKER}/broken"]),
        "no connection": webserver.launch(SILENT, f"{SILENT}__build"),
        "not let in": webserver.launch(ATTACHED, f"{ATTACHED}__build"),
        "no account": webserver.launch(CLOUD, "__ASSET_JOB", [f"{CLOUD}/first"]),
    }
    for name, run_id in runs.items():
        wait_until(lambda run_id=run_id: webserver.run(run_id)["status"] in FINAL, f"{name} ends", RUN_TIMEOUT_SECONDS)
    return runs


def _arguments(host: ComposeHost) -> list[str]:
    """Of every process of every role, as the kernel has them: `ps` cuts them where it believes in a screen."""
    each = "for process in /proc/[0-9]*; do tr '\\0' ' ' <$process/cmdline; echo; done 2>/dev/null; true"
    containers = host.containers()
    return [host.engine.docker("exec", "--user", "0:0", containers[role]["Id"], "sh", "-c", each) for role in ROLES]


def test_every_secret_setting_has_one_and_the_stack_has_used_them(lived: Lived) -> None:
    webserver = lived.host.stack.webserver

    assert lived.planted.settings >= SECRET_SETTINGS
    assert {name: webserver.run(run_id)["status"] for name, run_id in lived.runs.items()} == {
        "success": "SUCCESS", "dbt's error": "FAILURE", "no connection": "FAILURE",
        "not let in": "FAILURE", "no account": "FAILURE",
    }  # fmt: skip
    assert "no_such_column" in webserver.failure(lived.runs["dbt's error"])
    assert "PASSPHRASE: does not open" in lived.host.stack.status()[1]["locations"][REFUSED]["error"]


def test_the_search_finds_what_is_planted_where_it_may_be(lived: Lived) -> None:
    files = [(lived.host.clone / name).read_text() for name in (".env", ".env.tenants")]
    environments = [text for service in CONTAINERS for text in lived.host.environment(service).values()]
    written = {*lived.planted.host, *lived.planted.tenants, f"the key of {SILENT}"} & lived.planted.secrets.keys()
    for_deploys = {name for name in written if name in BY_NAME and BY_NAME[name].used_by == ("cli",)}
    for_deploys |= {"RENDER_API_KEY"} & written  # on Render its daemon has it, for one-off jobs

    assert len(for_deploys) > 1
    assert written <= lived.search.text(*files).secrets.keys()
    assert written & lived.search.text(*environments).secrets.keys() == written - for_deploys


@pytest.mark.parametrize("service", CONTAINERS)
def test_a_container_is_given_what_its_role_reads_and_no_more(lived: Lived, service: str) -> None:
    given = lived.host.environment(service)
    image = json.loads(lived.host.engine.docker("image", "inspect", lived.host.containers()[service]["Image"]))[0]
    added = {name for name, text in given.items() if f"{name}={text}" not in image["Config"]["Env"]}

    if service == DATABASE:
        allowed = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"}
    else:
        allowed = {name for name, setting in BY_NAME.items() if ROLES[service] in setting.used_by}
        allowed |= set(lived.planted.tenants) if service == "dagster-code" else set()
    assert added
    assert added <= allowed


@pytest.mark.parametrize("service", ["dagster-webserver", "dagster-code"])
def test_no_layer_of_an_image_and_nothing_of_its_history(lived: Lived, service: str) -> None:
    with lived.stream("save", lived.host.containers()[service]["Image"]) as archive:
        lived.search.archive(archive).nothing_but_the_marker()


def test_nothing_that_the_build_says(lived: Lived) -> None:
    lived.search.text(lived.build_log).nothing_but_the_marker()


@pytest.mark.parametrize("service", CONTAINERS)
def test_no_log_of_a_container(lived: Lived, service: str) -> None:
    if service == DATABASE:  # says nothing of itself, but what was wrong with a question
        words = ["psql", "--username", DATABASE_USER, "--command", f"select 1 from {MARKER}", DATABASE_NAME]
        lived.host.run("exec", lived.container(service), *words)
    said = lived.host.run("logs", lived.container(service))

    lived.search.text(said.stdout, said.stderr).nothing_but_the_marker()


@pytest.mark.parametrize("service", CONTAINERS)
def test_nothing_that_the_engine_knows_of_a_container_but_its_environment(lived: Lived, service: str) -> None:
    known = lived.host.containers()[service]
    del known["Config"]["Env"]

    lived.search.text(json.dumps(known)).nothing_but_the_marker()


def test_no_argument_of_any_process(lived: Lived) -> None:
    # Tenants' processes, runs and dbt among them, are forks: all have the arguments of what they are forked from.
    now = _arguments(lived.host)
    assert any("dagster_apollo.code_host.zygote" in text for text in now)
    assert any(b"dagster_apollo.code_host.zygote" in words for words in lived.arguments.seen)
    assert not lived.search.text(*now).secrets
    assert not lived.search.content(lived.arguments.seen).secrets


def test_no_event_run_snapshot_or_output_in_the_database(lived: Lived) -> None:
    words = ["pg_dumpall", "--username", DATABASE_USER]
    with lived.stream("exec", lived.container(DATABASE), *words) as dump:
        content = dump.read()

    assert b"COPY public.event_logs" in content
    assert b"SCRAM-SHA-256$" in content  # as Postgres keeps a password
    lived.search.dump(content).nothing_but_the_marker()


@pytest.mark.parametrize("service", CONTAINERS)
def test_no_file_that_a_container_has_written(lived: Lived, service: str) -> None:
    words = ["exec", "--privileged", "--user", "0:0", lived.container(service)]
    if service in ("dagster-webserver", "dagster-daemon"):
        lived.host.engine.docker(*words, "sh", "-c", f"echo {MARKER} >/tmp/found; echo {MARKER} >/var/lib/apollo/found")
    # What is written to while it is read is exit code 1.
    pack = f"tar --create --file=- --directory=/ {' '.join(FOLDERS[service])} || [ $? = 1 ]"
    with lived.stream(*words, "sh", "-c", pack) as archive:
        lived.search.archive(archive).nothing_but_the_marker()


def test_no_file_of_the_clone_but_those_that_they_were_written_into(lived: Lived) -> None:
    files = [file for file in lived.host.clone.rglob("*") if file.is_file()]
    others = [file for file in files if file.name not in (".env", ".env.tenants", "access.yaml")]

    assert len(files) - len(others) == 3
    lived.search.content(file.read_bytes() for file in others).nothing_but_the_marker()


def test_no_answer_of_the_webserver(lived: Lived) -> None:
    asked, answers = {what for what, _ in lived.answers}, [answer for _, answer in lived.answers]

    assert asked >= {f"/download_debug/{run_id}" for run_id in lived.runs.values()}
    assert asked >= {"/status", "/metrics", "instance", "workspaceOrError", "runsOrError", "logsForRun", "capturedLogs"}
    # What went wrong is told, and all of it.
    for told in ("no_such_column", "250001", "PASSPHRASE: does not open", "password authentication failed"):
        assert any(told in answer for answer in answers), told
    lived.search.text(*answers).nothing_but_the_marker()
