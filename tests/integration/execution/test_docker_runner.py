"""Containers on a real engine: what goes in and comes out, how they end, what is said where they do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dagster_apollo.errors import ContainerError
from dagster_apollo.execution import docker_client, docker_runner
from dagster_apollo.execution.container import ContainerTask
from dagster_apollo.execution.docker_runner import DockerContainer
from dagster_apollo.execution.image_files import FILES_LABEL
from tests.support.containers import IMAGE, Containers, EngineBehindARelay
from tests.support.registry import Registry
from tests.support.webserver import wait_until

SECRET = "not-for-the-engine"
FOREVER = "import time; print('begun', flush=True); time.sleep(600)"


def python(program: str, **task: object) -> ContainerTask:
    return ContainerTask(("python3", "-u", "-c", program), **task)  # type: ignore[arg-type]


def failure(containers: Containers, task: ContainerTask | None = None, **place: object) -> ContainerError:
    """The error of a task that cannot be done; nothing is left of it."""
    with pytest.raises(ContainerError) as raised, containers.runner(**place).run(task or python("pass")) as container:
        list(container.lines())
    assert containers.left() == []
    return raised.value


def failure_when_begun(
    containers: Containers, happens: Callable[[], object], environ: Mapping[str, str] | None = None
) -> ContainerError:
    """The error of a command to which something happens while it runs."""
    with containers.runner(environ).run(python(FOREVER)) as container:
        lines = container.lines()
        assert next(lines) == "begun"
        happens()
        with pytest.raises(ContainerError) as raised:
            next(lines)
    return raised.value


# ---- What goes in and comes out. ----


def test_lines_come_as_they_are_printed_and_files_while_it_still_runs(containers: Containers, folder: Path) -> None:
    program = """
import pathlib, sys, time
print(pathlib.Path("/apollo/in/words").read_text())
pathlib.Path("/apollo/out/made").write_text("made inside")
print("åäö", file=sys.stderr, flush=True)
while not pathlib.Path("/apollo/out/go").exists(): time.sleep(0.05)
print("went on")
sys.exit(3)
"""
    task = python(program, files={"/apollo/in/words": b"brought along"}, folders=("/apollo/out",))

    with containers.runner().run(task) as container:
        lines = container.lines()
        assert {next(lines), next(lines)} == {"brought along", "åäö"}
        assert container.returncode is None
        assert container.bring("/apollo/out", folder / "out")
        assert (folder / "out" / "made").read_text() == "made inside"
        assert not container.bring("/apollo/out/nothing", folder / "nothing")
        containers.engine.docker("exec", containers.running()[0], "touch", "/apollo/out/go")
        assert list(lines) == ["went on"]
        assert container.returncode == 3
        assert container.bring("/apollo/out/made", folder / "one")
        assert (folder / "one").read_text() == "made inside"
    assert containers.left() == []


def test_only_what_the_task_is_given_is_in_its_environment_and_nothing_shows_it(containers: Containers) -> None:
    program = "import json, os, time; print(json.dumps(dict(os.environ)), flush=True); time.sleep(600)"
    task = python(program, environment={"PASSWORD": SECRET, "A": "of the task"})

    with containers.runner(environment={"A": "of the place", "B": "c"}).run(task) as container:
        seen = json.loads(next(container.lines()))
        (name,) = containers.running()
        told = str(containers.inspected(name)) + containers.engine.docker("top", name)
        found = containers.engine.run(["exec", name, "grep", "-rlF", SECRET, "/apollo", "/tmp", "/run", "/etc"])

    of_the_image = {entry.partition("=")[0] for entry in containers.inspected_image()["Config"]["Env"]}
    assert (seen["PASSWORD"], seen["A"], seen["B"], seen["HOME"]) == (SECRET, "of the task", "c", "/apollo")
    assert set(seen) - of_the_image - {"LC_CTYPE"} == {"PASSWORD", "A", "B", "HOME", "HOSTNAME"}
    assert SECRET not in told
    assert (found.returncode, found.stdout) == (1, "")


def test_a_command_that_the_image_lacks_is_named(containers: Containers) -> None:
    with containers.runner().run(ContainerTask(("dbt", "build"))) as container:
        assert list(container.lines()) == ["the image cannot run `dbt`: No such file or directory"]
        assert container.returncode == 127


def test_a_shared_folder_is_the_same_inside_and_its_files_are_ours(containers: Containers, folder: Path) -> None:
    shared = folder / "shared"
    shared.mkdir()
    (shared / "before").write_text("from here")
    program = f"import pathlib; p = pathlib.Path({str(shared)!r}); (p / 'after').write_text((p / 'before').read_text())"

    with containers.runner(shared_folder=shared).run(python(program)) as container:
        assert (list(container.lines()), container.returncode) == ([], 0)

    assert (shared / "after").read_text() == "from here"
    assert (shared / "after").stat().st_uid == os.getuid()


def test_a_named_volume_keeps_what_is_written_to_it(containers: Containers) -> None:
    volume = f"{containers.tenant}_kept"
    runner = containers.runner(volumes=(f"{volume}:/kept",))
    try:
        for program in ("open('/kept/word', 'w').write('stays')", "print(open('/kept/word').read())"):
            with runner.run(python(program)) as container:
                lines = list(container.lines())
        assert lines == ["stays"]
    finally:
        containers.engine.run(["volume", "rm", volume])


def test_the_working_folder_is_found_by_the_path_of_this_machine_too(containers: Containers) -> None:
    with containers.image(f"{containers.tenant}:one", f"FROM {IMAGE}\nWORKDIR /tenant\nRUN touch here\n") as image:
        task = python("import os; print(os.getcwd(), os.listdir('/a/folder/of/ours'))", also_at="/a/folder/of/ours")
        with containers.runner(image=image).run(task) as container:
            assert list(container.lines()) == ["/tenant ['here']"]


def test_a_folder_of_the_image_is_found_by_a_path_of_this_machine_too(containers: Containers) -> None:
    there = Path("/a/state/of/ours/extensions")
    dockerfile = (
        f"FROM {IMAGE}\nRUN mkdir /opt/extensions && touch /opt/extensions/one\nENV EXTENSIONS=/opt/extensions\n"
    )
    program = "import os; print(os.environ['EXTENSIONS'], os.listdir(os.environ['EXTENSIONS']), 'OTHER' in os.environ)"
    with containers.image(f"{containers.tenant}:two", dockerfile) as image:
        folders = {"EXTENSIONS": there, "OTHER": Path("/not/there")}
        with containers.runner(image=image, image_folders=folders).run(python(program)) as container:
            assert list(container.lines()) == [f"{there} ['one'] False"]


# ---- How it ends. ----


def test_whoever_stops_reading_ends_the_command_in_order_and_removes_the_container(
    containers: Containers, folder: Path
) -> None:
    marks = folder / "marks"
    marks.mkdir()
    program = f"""
import pathlib, time
try:
    print("begun", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    pathlib.Path({str(marks / "interrupted")!r}).touch()
"""
    with containers.runner(shared_folder=marks).run(python(program)) as container:
        assert next(container.lines()) == "begun"

    assert (marks / "interrupted").exists()
    assert containers.left() == []


KILLED_WHILE_IT_WAITS = """
import json, sys
from pathlib import Path
from dagster_apollo.execution.container import ContainerPlace, ContainerTask
from dagster_apollo.execution.docker_runner import DockerRunner
environ, tenant, locks, image, program = json.loads(sys.argv[1])
place = ContainerPlace(tenant, image, Path(locks), declared_in="the test")
with DockerRunner(place, environ).run(ContainerTask(("python3", "-u", "-c", program))) as container:
    for line in container.lines():
        print(line, flush=True)
"""


def test_a_process_that_is_killed_takes_its_container_along_and_the_next_one_removes_it(containers: Containers) -> None:
    told = json.dumps(
        [dict(containers.engine.environ), containers.tenant, str(containers.folder / "locks"), IMAGE, FOREVER]
    )
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_WHILE_IT_WAITS, told], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    assert len(containers.running()) == 1

    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    wait_until(lambda: containers.running() == [], "the container has ended")
    assert len(containers.left()) == 1
    with containers.runner().run(python("print('the next')")) as container:
        assert list(container.lines()) == ["the next"]
    assert containers.left() == []


def test_what_another_waits_for_is_let_alone(containers: Containers) -> None:
    runner = containers.runner()

    with runner.run(python(FOREVER)) as first:
        lines = first.lines()
        assert next(lines) == "begun"
        with runner.run(python("print('beside it')")) as second:
            assert list(second.lines()) == ["beside it"]
        assert len(containers.running()) == 1


def test_a_container_that_only_has_such_a_name_is_let_alone(containers: Containers) -> None:
    name = f"apollo-{containers.tenant}-theirs"
    containers.engine.docker("create", "--name", name, IMAGE)
    try:
        (containers.folder / "locks").mkdir()
        (containers.folder / "locks" / f"{name}.lock").touch()
        with containers.runner().run(python("pass")) as container:
            list(container.lines())
        assert containers.engine.docker("inspect", "--format", "{{.Name}}", name) == f"/{name}"
    finally:
        containers.engine.docker("rm", name)


# ---- What is said when it does not end by itself. ----


def test_a_time_limit_that_is_passed(containers: Containers) -> None:
    error = failure(containers, python(FOREVER), timeout_seconds=2)

    assert error.kind == "out_of_time"
    assert str(error.problems[0]) == (
        f"a container of {IMAGE}: ran longer than 2 s and was stopped. "
        "Raise `timeout_seconds` in the test, or build less at once."
    )


def test_a_memory_limit_that_is_passed(containers: Containers) -> None:
    error = failure(containers, python("x = bytearray(400 << 20)"), memory_mb=64)

    assert error.kind == "out_of_memory"
    assert "needed more than its 64 MB of memory and was killed" in str(error)
    assert "Raise `memory_mb` in the test" in str(error)


def test_a_container_that_somebody_kills(containers: Containers) -> None:
    error = failure_when_begun(containers, lambda: containers.engine.docker("kill", containers.running()[0]))

    assert error.kind == "killed"
    assert "killed from outside (exit code 137" in str(error)


def test_a_container_that_somebody_removes(containers: Containers) -> None:
    error = failure_when_begun(containers, lambda: containers.engine.docker("rm", "--force", containers.running()[0]))

    assert error.kind == "killed"


def test_an_image_that_is_missing_and_may_not_be_pulled(containers: Containers) -> None:
    error = failure(containers, image="apollo-nowhere:1", pull="NEVER")

    assert error.kind == "no_image"
    assert str(error.problems[0]) == (
        "apollo-nowhere:1: there is no such image on the container engine, and `pull: NEVER` forbids to fetch it. "
        "Build it: `make images`."
    )


@pytest.mark.parametrize("pull", ["IF_NOT_PRESENT", "ALWAYS"])
def test_an_image_that_the_registry_does_not_have(containers: Containers, registry: Registry, pull: str) -> None:
    image = f"{registry.address}/apollo/nowhere:1"

    error = failure(containers, image=image, pull=pull)

    assert error.kind == "pull_refused"
    assert f"{image}: cannot be pulled: " in str(error)
    assert "docker login" in str(error)


def test_an_image_is_pulled_when_it_is_not_there(containers: Containers, registry: Registry) -> None:
    image = f"{registry.address}/apollo/{containers.tenant}:1"
    with containers.image(image, f"FROM {IMAGE}\n"):
        containers.engine.docker("push", "--quiet", image)
        containers.engine.docker("image", "rm", image)

        with containers.runner(image=image).run(python("print('pulled')")) as container:
            assert list(container.lines()) == ["pulled"]


def test_an_image_is_pulled_each_time_where_that_is_asked_for(containers: Containers, registry: Registry) -> None:
    image = f"{registry.address}/apollo/{containers.tenant}:moving"
    task = python("import os; print(os.environ['WHICH'])")

    def which(pull: str) -> list[str]:
        with containers.runner(image=image, pull=pull).run(task) as container:
            return list(container.lines())

    with containers.image(image, f"FROM {IMAGE}\nENV WHICH=newer\n"):
        containers.engine.docker("push", "--quiet", image)
    with containers.image(image, f"FROM {IMAGE}\nENV WHICH=older\n"):
        assert [which("NEVER"), which("IF_NOT_PRESENT"), which("ALWAYS")] == [["older"], ["older"], ["newer"]]


def test_a_network_that_is_missing(containers: Containers) -> None:
    error = failure(containers, network="apollo-no-such-network")

    assert error.kind == "no_network"
    assert "docker network create apollo-no-such-network" in str(error)


def test_a_volume_that_may_only_be_read(containers: Containers) -> None:
    folder = containers.folder / "shown"
    folder.mkdir()
    (folder / "rates.csv").write_text("EUR,1\n")
    program = "from pathlib import Path; f = Path('/shown/rates.csv'); print(f.read_text().strip()); f.write_text('')"

    with containers.runner(volumes=(f"{folder}:/shown:ro",)).run(python(program)) as container:
        lines = list(container.lines())

    assert "EUR,1" in lines, lines
    assert any("Read-only file system" in line for line in lines)
    assert (folder / "rates.csv").read_text() == "EUR,1\n"


def test_a_folder_that_the_engine_does_not_have(containers: Containers) -> None:
    error = failure(containers, volumes=("/no/such/folder:/inside",))

    assert error.kind == "volume_refused"
    assert "/no/such/folder" in str(error)


def test_an_image_without_python(containers: Containers) -> None:
    with containers.image(f"{containers.tenant}:bare", "FROM scratch\nLABEL bare=true\n") as image:
        error = failure(containers, image=image)

    assert error.kind == "start_refused"
    assert "needs `python3` on its PATH" in str(error)


def test_an_image_of_other_files_is_refused_and_one_that_does_not_say_is_remarked_on(containers: Containers) -> None:
    task = python("print('ran')", made_of="the files as they are")
    for label, image in (("the files as they are", "same"), ("older ones", "stale")):
        tag, option = f"{containers.tenant}:{image}", f"--label={FILES_LABEL}={label}"
        with containers.image(tag, f"FROM {IMAGE}\n", option):
            if image == "stale":
                error = failure(containers, task, image=tag)
                assert error.kind == "stale_image"
                assert str(error.problems[0]).endswith("Build it again: `make images`.")
            else:
                assert ran(containers.runner(image=tag).run(task)) == ()
    assert "nobody knows whether it is current" in ran(containers.runner().run(task))[0]


def ran(started: object) -> tuple[str, ...]:
    with started as container:  # type: ignore[attr-defined]
        assert isinstance(container, DockerContainer)
        assert list(container.lines()) == ["ran"]
        return container.notes


# ---- An engine that does not answer. ----


def test_no_engine(containers: Containers) -> None:
    nowhere = {"DOCKER_HOST": f"unix://{containers.folder}/nothing.sock"}

    with (
        pytest.raises(ContainerError) as raised,
        containers.runner(nowhere, without_engine="Or run natively: X=process.").run(python("pass")),
    ):
        pass

    assert raised.value.kind == "no_engine"
    assert "does not answer: No such file or directory" in str(raised.value)
    assert str(raised.value).endswith("`docker info` must answer. Or run natively: X=process.")


def test_an_engine_that_keeps_silent(containers: Containers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_client, "_FIRST_ANSWER_SECONDS", 1)
    relay = EngineBehindARelay(containers.engine.environ["DOCKER_HOST"], containers.folder / "engine.sock", silent=True)

    with relay.listening(), pytest.raises(ContainerError) as raised, containers.runner(relay.environ).run(python("")):
        pass

    assert raised.value.kind == "no_engine"
    assert "does not answer: it keeps silent" in str(raised.value)


def test_an_engine_that_falls_silent_in_the_middle(containers: Containers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_runner, "_SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(docker_client, "ENGINE_TIMEOUT_SECONDS", 2)
    relay = EngineBehindARelay(containers.engine.environ["DOCKER_HOST"], containers.folder / "engine.sock")

    with relay.listening():
        error = failure_when_begun(containers, relay.fall_silent, relay.environ)

    assert error.kind == "no_engine"
    assert "does not answer: it keeps silent" in str(error)


def test_an_engine_that_goes_away_in_the_middle(containers: Containers) -> None:
    relay = EngineBehindARelay(containers.engine.environ["DOCKER_HOST"], containers.folder / "engine.sock")

    with relay.listening():
        error = failure_when_begun(containers, relay.cut, relay.environ)

    assert error.kind == "no_engine"
    wait_until(lambda: containers.running() == [], "the container has ended by itself")
    assert len(containers.left()) == 1
    with containers.runner().run(python("pass")) as container:
        list(container.lines())
    assert containers.left() == []
