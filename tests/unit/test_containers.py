"""What goes into a container and how it is found again, as far as no engine is needed for it."""

from __future__ import annotations

import fcntl
import io
import socket
import struct
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from dagster_apollo.dbt.in_container import TARGET_PATH, dbt_task
from dagster_apollo.dbt.workspace import Workspace, tenant_place
from dagster_apollo.environment import for_container, for_dbt, for_tenant
from dagster_apollo.errors import TenantError
from dagster_apollo.execution import first_process
from dagster_apollo.execution.abandoned import claimed, remove_abandoned
from dagster_apollo.execution.archives import pack, unpack
from dagster_apollo.execution.attached_output import lines_of
from dagster_apollo.execution.command import ContainerCommand
from dagster_apollo.execution.docker_runner import _seen_by_engine
from dagster_apollo.execution.image_files import digest_of_files
from dagster_apollo.execution.images import tenant_images
from dagster_apollo.execution.process import NativeCommand
from tests.support.shop_tenant import open_shop, places_below, write_tenant

IN_DOCKER = "warehouse: duckdb\nexecution: docker\ncontainer: {image: 'shop:1'}\n"


# ---- Archives. ----


def entries(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {entry.name: entry for entry in tar}


def test_folders_of_ours_are_open_to_any_user_inside_and_others_are_let_alone() -> None:
    found = entries(pack({"/apollo/in/file": b"content", "/etc/file": b""}, ["/apollo/out"], {"/a/b": "/tenant"}))

    assert {name: oct(entry.mode) for name, entry in found.items() if entry.isdir()} == {
        "apollo": "0o777", "apollo/in": "0o777", "apollo/out": "0o777",
    }  # fmt: skip
    assert (found["apollo/in/file"].size, found["a/b"].linkname) == (7, "/tenant")


def test_a_folder_comes_out_with_its_content_and_a_file_as_itself(tmp_path: Path) -> None:
    packed = pack({"/target/run_results.json": b"{}", "/target/compiled/a.sql": b"select 1"})
    unpack([packed[:100], packed[100:]], tmp_path / "target")
    unpack([pack({"/one": b"alone"})], tmp_path / "file")

    assert (tmp_path / "target/run_results.json").read_text() == "{}"
    assert (tmp_path / "target/compiled/a.sql").read_text() == "select 1"
    assert (tmp_path / "file").read_text() == "alone"


def test_nothing_comes_out_beside_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("target/../../escaped", "target/kept"):
            entry = tarfile.TarInfo(name)
            entry.size = 1
            tar.addfile(entry, io.BytesIO(b"x"))
        link = tarfile.TarInfo("target/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    unpack([archive.getvalue()], tmp_path / "inner" / "target")

    assert [path.name for path in tmp_path.rglob("*") if not path.is_dir()] == ["kept"]


# ---- Output. ----


def test_lines_are_put_together_from_frames_each_output_by_itself() -> None:
    ours, theirs = socket.socketpair()
    parts = [(1, b"first li"), (2, b"an error\n"), (1, b"ne\nsecond "), (1, "å".encode()[:1]), (1, "å".encode()[1:])]
    sent = b"".join(struct.pack(">BxxxL", output, len(part)) + part for output, part in parts)
    asked = []
    with ours, theirs:
        theirs.sendall(sent[:5])
        lines = lines_of(ours, lambda: asked.append(theirs.sendall(sent[5:]) or theirs.close() if not asked else None))
        assert list(lines) == ["an error", "first line", "second å"]


def test_what_is_raised_while_it_is_silent_ends_the_reading() -> None:
    ours, theirs = socket.socketpair()

    def over() -> None:
        raise TimeoutError("it is over")

    with ours, theirs, pytest.raises(TimeoutError, match="over"):
        next(lines_of(ours, over))


# ---- What a killed process left. ----


def test_only_what_nobody_waits_for_is_abandoned(tmp_path: Path) -> None:
    removed: list[str] = []
    with claimed(tmp_path, "waited-for") as claim:
        claim.removed = True
        (tmp_path / "left.lock").touch()
        held = (tmp_path / "another-process.lock").open("w")
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_abandoned(tmp_path, removed.append)
        held.close()
        assert removed == ["left"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["another-process.lock", "waited-for.lock"]

    remove_abandoned(tmp_path, removed.append)
    assert removed == ["left", "another-process"]
    assert list(tmp_path.iterdir()) == []


def test_what_its_own_process_could_not_remove_is_abandoned(tmp_path: Path) -> None:
    removed: list[str] = []
    with claimed(tmp_path, "engine-went-away"):
        pass

    remove_abandoned(tmp_path, removed.append)
    assert removed == ["engine-went-away"]


def test_what_could_not_be_removed_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "left.lock").touch()

    def refuses(_: str) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        remove_abandoned(tmp_path, refuses)
    assert (tmp_path / "left.lock").exists()


# ---- The first process, here as a child of the test. ----


def first(*words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", first_process.__file__, *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def told_variables(process: subprocess.Popen[bytes], content: bytes = b'{"WORD": "given"}') -> None:
    assert process.stdin is not None
    process.stdin.write(len(content).to_bytes(8, "big") + content)
    process.stdin.flush()


def test_the_command_gets_the_variables_and_its_exit_code_is_passed_on() -> None:
    process = first("sh", "-c", "echo $WORD; exit 7")
    told_variables(process)

    assert process.stdout is not None
    assert process.stdout.read() == b"given\n"
    assert process.wait() == 7


def test_a_signal_that_ends_the_command_is_its_exit_code() -> None:
    process = first("sh", "-c", "kill -KILL $$")
    told_variables(process)

    assert process.wait() == 137


def test_the_end_of_its_input_interrupts_the_command() -> None:
    process = first("sh", "-c", "trap 'echo interrupted; exit 5' INT; echo begun; while true; do sleep 0.1; done")
    told_variables(process)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"begun\n"
    process.stdin.close()

    assert process.stdout.read() == b"interrupted\n"
    assert process.wait() == 5


def test_without_variables_nothing_is_started() -> None:
    process = first("echo", "started")
    out, _ = process.communicate(b"\0\0")

    assert (out, process.returncode) == (b"", 1)


# ---- What an image was built from. ----


def test_the_digest_changes_with_what_an_image_holds_and_with_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.sql").write_text("select 1")
    before = digest_of_files(tmp_path)

    for made in ("README.md", "tenant.yaml", ".env", "target/manifest.json", "dbt_packages/x/y.sql"):
        (tmp_path / made).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / made).write_text("something")
    assert digest_of_files(tmp_path) == before

    (tmp_path / "models" / "a.sql").rename(tmp_path / "models" / "b.sql")
    renamed = digest_of_files(tmp_path)
    (tmp_path / "models" / "b.sql").write_text("select 2")
    assert len({before, renamed, digest_of_files(tmp_path)}) == 3


def test_images_are_made_of_tenants_that_name_one_and_have_a_dockerfile(tmp_path: Path) -> None:
    places = places_below(tmp_path)
    for name in ("with_both", "without_dockerfile"):
        write_tenant(places, IN_DOCKER, name)
    write_tenant(places, "warehouse: duckdb\n", "without_container")
    for name in ("with_both", "without_container"):
        (places.tenants_dir / name / "Dockerfile").write_text("FROM scratch\n")

    (made,) = tenant_images(places.tenants_dir, ["with_both", "without_container", "without_dockerfile"])

    folder = places.tenants_dir / "with_both"
    assert (made.folder, made.image, made.network) == (folder, "shop:1", None)
    assert made.label == f"dagster-apollo.files={digest_of_files(folder)}"


# ---- Where commands run. ----


def place(workspace: Workspace, root: Path) -> object:
    return tenant_place(workspace.tenant, workspace.values, places_below(root))


def test_tenant_yaml_says_where_commands_run_and_a_variable_says_otherwise(tmp_path: Path) -> None:
    assert isinstance(open_shop(tmp_path).dbt(["build"], tmp_path), NativeCommand)
    contained = open_shop(tmp_path, config=IN_DOCKER)
    assert isinstance(contained.dbt(["build"], tmp_path), ContainerCommand)
    assert isinstance(contained.command(["python", "-V"]), ContainerCommand)
    assert isinstance(contained.native_dbt(["parse"], tmp_path), NativeCommand)
    native = open_shop(tmp_path, {"SHOP__APOLLO_EXECUTION": "process"}, IN_DOCKER)
    assert isinstance(native.dbt(["build"], tmp_path), NativeCommand)


def test_a_container_is_labelled_with_the_run_that_it_belongs_to(tmp_path: Path) -> None:
    contained = open_shop(tmp_path, config=IN_DOCKER)

    for command in (
        contained.dbt(["build"], tmp_path, run_id="4711"),
        contained.command(["python", "-V"], run_id="4711"),
    ):
        assert isinstance(command, ContainerCommand)
        assert command.task.run_id == "4711"


def test_a_container_shares_the_folder_of_the_duckdb_file_and_nothing_where_there_is_none(tmp_path: Path) -> None:
    workspace = open_shop(tmp_path, config=IN_DOCKER)
    found = tenant_place(workspace.tenant, workspace.values, places_below(tmp_path))

    assert found is not None
    assert found.shared_folder == tmp_path / "state" / "warehouse"
    assert f"{found.shared_folder}/" in workspace.profile.text
    assert (found.image, found.pull, found.timeout_seconds) == ("shop:1", "IF_NOT_PRESENT", 3600)


def test_a_container_that_is_asked_for_and_not_described_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TenantError) as raised:
        open_shop(tmp_path, {"SHOP__APOLLO_EXECUTION": "docker"})

    assert "SHOP__APOLLO_EXECUTION: asks for containers, and tenants/shop/tenant.yaml names no image" in str(
        raised.value
    )


GIVEN = {
    "PATH": "/usr/bin", "HOME": "/home/me", "PYTHONPATH": "x", "AWS_REGION": "eu-north-1", "DBT_ENV_CUSTOM": "shared",
    "SOMETHING": "of the machine", "AWS_SECRET_ACCESS_KEY": "shared secret", "SNOWFLAKE_PRIVATE_KEY_B64": "shared key",
    "SHOP__API_TOKEN": "of shop", "SHOP__AWS_ACCESS_KEY_ID": "of shop", "CELLAR__API_TOKEN": "of cellar",
    "APOLLO_STATE_DIR": "/state", "DAGSTER_PG_URI": "postgresql://", "DBT_CLOUD_TOKEN": "shared token",
}  # fmt: skip


def contained(natively: Mapping[str, str], *secrets: str) -> dict[str, str]:
    return for_container(natively, for_tenant(GIVEN, "shop"), "shop", {"DECLARED": "plain"}, secrets)


def test_a_container_is_given_the_tenants_variables_and_none_of_the_machine() -> None:
    natively = for_dbt(for_tenant(GIVEN, "shop"), "shop", {"DECLARED": "plain"})

    assert contained(natively) == {
        "AWS_REGION": "eu-north-1",
        "DBT_ENV_CUSTOM": "shared",
        "API_TOKEN": "of shop",
        "AWS_ACCESS_KEY_ID": "of shop",
        "DECLARED": "plain",
    }


def test_a_command_in_a_container_is_given_the_secrets_that_its_tenant_uses_and_no_others() -> None:
    given = contained(for_tenant(GIVEN, "shop"), "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")

    assert given["AWS_SECRET_ACCESS_KEY"] == "shared secret"
    assert {"SNOWFLAKE_PRIVATE_KEY_B64", "DBT_CLOUD_TOKEN"} & set(given) == set()
    assert {"PATH", "APOLLO_STATE_DIR", "DAGSTER_PG_URI"} & set(given) == set()


def test_dbt_finds_inside_what_lies_elsewhere_here(tmp_path: Path) -> None:
    (tmp_path / "partial_parse.msgpack").write_bytes(b"parsed")
    task = dbt_task(
        ["build", "--select", "fqn:*"],
        {"DBT_PROFILES_DIR": "/here", "DBT_TARGET_PATH": str(tmp_path), "DBT_ENV_SECRET_KEY": "hidden"},
        folder=Path("/tenants/shop"), project_dir=Path("/tenants/shop/dbt"), profile="shop: {}",
        target_path=tmp_path, made_of="digest",
    )  # fmt: skip

    assert task.words == ("dbt", "build", "--select", "fqn:*")
    assert task.environment["DBT_PROJECT_DIR"] == "dbt"
    assert task.files[f"{task.environment['DBT_PROFILES_DIR']}/profiles.yml"] == b"shop: {}"
    assert task.files[f"{TARGET_PATH}/partial_parse.msgpack"] == b"parsed"
    assert task.environment["DBT_TARGET_PATH"] == TARGET_PATH
    assert (task.also_at, task.made_of) == ("/tenants/shop", "digest")
    assert "hidden" not in repr(task)


def test_a_folder_of_a_process_that_is_itself_in_a_container_is_mounted_from_where_the_engine_has_it() -> None:
    mounts = [
        {"Destination": "/var/lib", "Source": "/volumes/other"},
        {"Destination": "/var/lib/apollo", "Source": "/volumes/state/_data"},
    ]
    folder = Path("/var/lib/apollo/tenants/shop/warehouse")

    assert _seen_by_engine(folder, mounts) == "/volumes/state/_data/tenants/shop/warehouse"
    assert _seen_by_engine(Path("/home/me/.apollo/warehouse"), mounts) == "/home/me/.apollo/warehouse"


@pytest.mark.parametrize(
    ("container", "what"),
    [
        ("{image: shop}", "'shop' is not an image with its tag or digest"),
        ("{image: 'shop: 1'}", "is not an image with its tag or digest"),
        ("{image: 'shop:1', volumes: ['relative/path:/inside']}", "'relative/path:/inside' is not `volume:/inside`"),
        ("{image: 'shop:1', volumes: ['kept:inside']}", "'kept:inside' is not `volume:/inside`"),
        ("{image: 'shop:1', environment: {API_TOKEN: hunter2}}", "API_TOKEN looks like a secret"),
        ("{image: 'shop:1', pull: SOMETIMES}", "input should be 'NEVER', 'IF_NOT_PRESENT' or 'ALWAYS'"),
        ("{image: 'shop:1', memory_mb: 1}", "input should be greater than or equal to 64"),
        ("null", "`execution: docker` needs `container: {image: …}`"),
    ],
)
def test_a_container_that_no_engine_would_take_is_refused_in_tenant_yaml(
    tmp_path: Path, container: str, what: str
) -> None:
    with pytest.raises(TenantError) as raised:
        open_shop(tmp_path, config=f"warehouse: duckdb\nexecution: docker\ncontainer: {container}\n")

    assert what in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "image", ["shop:1", "ghcr.io/example/shop:2026-11-21", f"localhost:5000/a/b@sha256:{'a' * 64}"]
)
def test_images_are_named_as_registries_name_them(tmp_path: Path, image: str) -> None:
    config = f"warehouse: duckdb\ncontainer: {{image: '{image}', volumes: ['kept:/inside', '/here:/there:ro']}}\n"

    container = open_shop(tmp_path, config=config).tenant.config.container

    assert container is not None
    assert container.image == image
