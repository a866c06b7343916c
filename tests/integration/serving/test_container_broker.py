"""The code host's broker of containers, on a real engine: it starts what `tenant.yaml` says, and nothing that is asked.

Asked as a tenant's process asks it, and as a tenant would that means no good.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from dagster_apollo.code_host import broker_process
from dagster_apollo.code_host.broker import Broker, container_places
from dagster_apollo.code_host.walls import Cell
from dagster_apollo.dbt.workspace import Places
from dagster_apollo.errors import ContainerError
from dagster_apollo.execution import channel
from dagster_apollo.execution.brokered import BROKER_VARIABLE, BrokeredRunner
from dagster_apollo.execution.container import ContainerTask
from dagster_apollo.execution.docker_runner import TENANT_LABEL
from tests.support.container_engine import ContainerEngine
from tests.support.tenants import write_tenant
from tests.support.webserver import wait_until

IMAGE = "python:3.11-slim"
TENANT_YAML = f"""\
warehouse: snowflake
execution: docker
container: {{image: "{IMAGE}", memory_mb: 128, environment: {{PLAIN: of-tenant-yaml}}}}
"""


@pytest.fixture(scope="module")
def broker(module_folder: Path, container_engine: ContainerEngine) -> Iterator[Broker]:
    """For two tenants that have containers, and beside one that has none."""
    container_engine.docker("pull", IMAGE) if not container_engine.docker("images", "-q", IMAGE) else None
    places = Places(module_folder, module_folder / "tenants", module_folder / "state")
    for name in ("alpha", "beta"):
        write_tenant(places.tenants_dir, name, {"first.sql": "select 1 as id"}, TENANT_YAML)
    write_tenant(places.tenants_dir, "gamma", {"first.sql": "select 1 as id"})
    environ = {**container_engine.environ, "DBT_TARGET": "prod"}
    cells = [Cell(name, None, places.state_dir / "tenants" / name) for name in ("alpha", "beta", "gamma")]
    places.state_dir.mkdir()
    said: list[str] = []
    made = Broker.open(environ, places, cells, container_places(environ, places, cells), said.append)
    made.look_after()
    yield made
    made.stop()
    assert _containers(container_engine) == [], "nothing is left"
    assert said == []


def _containers(engine: ContainerEngine, *tenants: str) -> list[str]:
    labels = [f"label={TENANT_LABEL}={tenant}" for tenant in tenants or ("alpha", "beta")]
    return [each for label in labels for each in engine.docker("ps", "--all", "--quiet", "--filter", label).split()]


def runner(broker: Broker, tenant: str = "alpha") -> BrokeredRunner:
    return BrokeredRunner(tenant, broker.environ_of(tenant)[BROKER_VARIABLE])


def task(program: str, **more: Any) -> ContainerTask:
    return ContainerTask(("python3", "-c", program), **more)


def ended(broker: Broker, wanted: ContainerTask) -> tuple[list[str], int | None]:
    with runner(broker).run(wanted) as container:
        lines = list(container.lines())
        return lines, container.returncode


def test_a_tenants_command_runs_in_the_container_of_its_tenant_yaml(broker: Broker) -> None:
    program = "import os, sys; print(sys.version[:4], os.environ['PLAIN'], os.environ['SECRET']); sys.exit(3)"

    assert ended(broker, task(program, environment={"SECRET": "s3cret"})) == (["3.11 of-tenant-yaml s3cret"], 3)


def test_files_go_in_and_results_come_out(broker: Broker, tmp_path: Path) -> None:
    program = """
import pathlib
out = pathlib.Path("/apollo/out")
(out / "sub").mkdir()
(out / "sub" / "b").write_text(open("/apollo/in/a").read() * 2)
(out / "big").write_bytes(b"x" * 5_000_000)
"""
    wanted = task(program, files={"/apollo/in/a": b"word "}, folders=("/apollo/out",))

    with runner(broker).run(wanted) as container:
        assert list(container.lines()) == []
        assert container.bring("/apollo/out", tmp_path / "out")
        assert not container.bring("/apollo/nowhere", tmp_path / "nowhere")

    assert (tmp_path / "out" / "sub" / "b").read_text() == "word word "
    assert (tmp_path / "out" / "big").stat().st_size == 5_000_000


def test_a_result_is_brought_while_the_command_runs(broker: Broker, tmp_path: Path) -> None:
    program = """
import pathlib, time
pathlib.Path("/apollo/o").mkdir()
pathlib.Path("/apollo/o/f").write_text("now")
print("made", flush=True)
time.sleep(1)
print("after", flush=True)
"""

    with runner(broker).run(task(program)) as container:
        lines = container.lines()
        assert next(lines) == "made"
        assert container.bring("/apollo/o/f", tmp_path / "f")
        assert next(lines) == "after"
        assert list(lines) == []
    assert (tmp_path / "f").read_text() == "now"


def test_whoever_leaves_leaves_nothing_behind(broker: Broker, container_engine: ContainerEngine) -> None:
    with runner(broker).run(task("import time; print('up', flush=True); time.sleep(600)")) as container:
        assert next(container.lines()) == "up"
        assert len(_containers(container_engine, "alpha")) == 1

    assert _containers(container_engine, "alpha") == []


def test_who_is_interrupted_while_nothing_is_said_leaves_nothing_behind(
    broker: Broker, container_engine: ContainerEngine
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def wait_for_a_line() -> None:
        with runner(broker).run(task("import time; time.sleep(600)")) as container:
            signal.alarm(2)
            next(container.lines())

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            wait_for_a_line()
    finally:
        signal.signal(signal.SIGALRM, before)

    assert _containers(container_engine, "alpha") == []


def test_a_process_that_is_killed_takes_its_container_along(broker: Broker, container_engine: ContainerEngine) -> None:
    pid = os.fork()
    if pid == 0:
        with runner(broker).run(task("import time; print('up', flush=True); time.sleep(600)")) as container:
            for _ in container.lines():
                pass
        os._exit(0)
    wait_until(lambda: _containers(container_engine, "alpha"), "its container runs", 60)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    wait_until(lambda: not _containers(container_engine, "alpha"), "it is gone", 60)


def test_what_goes_wrong_is_told_as_by_the_engine_itself(broker: Broker) -> None:
    with pytest.raises(ContainerError) as error:
        ended(broker, task("x = 'x' * 10**9; print(len(x))"))
    assert error.value.kind == "out_of_memory"
    assert "tenants/alpha/tenant.yaml" in str(error.value)


# ---- Whoever asks for more than is his. ----


def ask_for(broker: Broker, **more: Any) -> dict[str, Any]:
    """A task that would do, with something changed or added, said to the broker as it is; its answer."""
    usual: dict[str, Any] = dict.fromkeys(("folder", "also_at", "made_of", "run_id"))
    usual |= {"words": ["true"], "environment": {}, "files": [], "folders": []}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(broker.environ_of("alpha")[BROKER_VARIABLE])
        channel.send(connection, {**usual, **more})
        received = channel.receive(connection)
    assert received is not None
    return received[0]


@pytest.mark.parametrize(
    "more",
    [
        {"image": "alpine"},
        {"volumes": ["/:/host"]},
        {"mounts": [{"Source": "/", "Target": "/host", "Type": "bind"}]},
        {"privileged": True},
        {"network": "host"},
        {"user": "0:0"},
        {"memory_mb": 100_000},
        {"tenant": "beta"},
        {"place": {"image": "alpine"}},
        {"do": "logs", "container": "apollo-beta-1"},
        {"do": "stop", "container": "apollo-beta-1"},
    ],
    ids=lambda more: next(iter(more)) + str(more.get("container", "")),
)
def test_what_is_not_his_to_say_is_refused_by_name(
    broker: Broker, container_engine: ContainerEngine, more: Mapping[str, Any]
) -> None:
    answer = ask_for(broker, **more)

    assert answer["is"] == "error"
    assert answer["kind"] == "start_refused"
    assert all(repr(name) in answer["problem"]["what"] for name in more)
    assert "tenants/alpha/tenant.yaml" in answer["problem"]["remedy"]
    assert _containers(container_engine) == []


@pytest.mark.parametrize(
    "more",
    [
        {"words": []},
        {"words": "sh -c true"},
        {"words": ["a\0b"]},
        {"environment": {"A": 1}},
        {"environment": ["A=1"]},
        {"files": [["/etc/passwd", 0]]},
        {"files": [["/apollo/../etc/passwd", 0]]},
        {"files": [["/apollo/a", 5]]},
        {"files": [["/apollo/a", -1]]},
        {"folders": ["/var/lib"]},
        {"also_at": "/etc"},
        {"run_id": "x\ny"},
        {"run_id": "x" * 65},
        {"made_of": 3},
    ],
    ids=str,
)
def test_what_no_tenant_of_ours_would_say_starts_nothing(broker: Broker, more: Mapping[str, Any]) -> None:
    answer = ask_for(broker, **more)

    assert answer["is"] == "error"
    assert "asks for what cannot be read" in answer["problem"]["what"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 16, b"GET / HTTP/1.1\r\n\r\n", b"\0" * 7 + b"\2" + b"\0" * 8 + b"[]", b"\0" * 15 + b"\1"],
    ids=["nothing", "too much", "http", "no fields", "half"],
)
def test_noise_ends_one_connection_and_no_more(broker: Broker, content: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(broker.environ_of("alpha")[BROKER_VARIABLE])
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass

    assert ended(broker, task("print('well')")) == (["well"], 0)


def test_the_broker_stays_up_when_a_process_of_its_own_is_killed(broker: Broker) -> None:
    assert broker.process is not None
    with runner(broker).run(task("import time; print('up', flush=True); time.sleep(600)")) as container:
        lines = container.lines()
        assert next(lines) == "up"
        children = Path(f"/proc/{broker.process.pid}/task/{broker.process.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        with pytest.raises(ContainerError) as error:
            next(lines)
    assert error.value.kind == "no_engine"
    assert ended(broker, task("print('well')")) == (["well"], 0)


def test_no_more_than_a_few_at_once_and_the_neighbour_is_served(broker: Broker) -> None:
    held = []
    for _ in range(broker_process.MOST_AT_ONCE):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(broker.environ_of("alpha")[BROKER_VARIABLE])
        held.append(connection)
    try:
        with pytest.raises(ContainerError, match="8 containers of it run already"):
            ended(broker, task("print(1)"))
        with runner(broker, "beta").run(task("print('beta')")) as container:
            assert list(container.lines()) == ["beta"]
    finally:
        for connection in held:
            connection.close()
    wait_until(lambda: _answers(broker), "there is room again", 30)


def _answers(broker: Broker) -> bool:
    try:
        return ended(broker, task("print(1)")) == (["1"], 0)
    except ContainerError:
        return False


def test_who_has_no_container_has_no_channel(broker: Broker) -> None:
    assert broker.environ_of("gamma") == {}


def test_while_the_broker_is_started_again_a_request_waits(broker: Broker) -> None:
    assert broker.process is not None
    pid = broker.process.pid
    os.kill(pid, signal.SIGKILL)
    found: list[tuple[list[str], int | None]] = []
    asking = threading.Thread(target=lambda: found.append(ended(broker, task("print('later')"))))
    asking.start()
    _, status = os.waitpid(pid, 0)
    assert broker.ended(pid, status)
    broker.tell.__self__.clear()  # type: ignore[attr-defined]

    def is_started() -> bool:
        broker.look_after()
        return broker.process is not None

    wait_until(is_started, "it is started again", 30)
    asking.join(60)

    assert found == [(["later"], 0)]


def test_the_broker_knows_every_part_of_a_task() -> None:
    assert {entry.name for entry in fields(ContainerTask)} == broker_process._FIELDS


def test_a_code_host_without_an_engine_is_told_how_it_gets_one(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_process, "ENGINE_SOCKET", str(tmp_path / "docker.sock"))
    with pytest.raises(ContainerError, match="engine_socket") as error:
        broker_process.require_engine({}, broker.found["alpha"])

    assert error.value.kind == "no_engine"
    assert "ALPHA__APOLLO_EXECUTION=process" in str(error.value)


def test_a_folder_that_the_tenant_could_exchange_is_not_mounted(tmp_path: Path, broker: Broker) -> None:
    shared = tmp_path / "warehouse"
    shared.mkdir()
    place = replace(broker.found["alpha"], shared_folder=shared, user="20001:20001")
    with pytest.raises(ContainerError, match="could be exchanged by the tenant"):
        broker_process.require_unmovable(place)

    tmp_path.chmod(0o1770)
    broker_process.require_unmovable(place)
    shared.rmdir()
    shared.symlink_to("/")
    with pytest.raises(ContainerError, match="could be exchanged by the tenant"):
        broker_process.require_unmovable(place)
