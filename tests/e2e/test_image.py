"""The one image, built and looked into: what is in it, what is not, and with which rights it runs."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_apollo.topology import FULL_STAGE, HOST_STAGE, STATE_DIR
from tests.support.canary import forms_of
from tests.support.checkout import copy_checkout
from tests.support.container_engine import ContainerEngine
from tests.support.images import BUILD_TIMEOUT_SECONDS, Images, built

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CANARY = "canary-4f1d7c09-never-in-an-image"
# SETGID and SETUID: /usr/include/linux/capability.h, bits 6 and 7.
TWO_RIGHTS = "00000000000000c0"
# Stands in for the command behind the entry point and says with what rights it was started.
PROBE = "#!/bin/sh\nhead -1 /proc/1/comm\ngrep -E '^(Uid|CapBnd|CapEff|NoNewPrivs)' /proc/self/status\n"


@pytest.fixture(scope="module")
def images(container_engine: ContainerEngine) -> Iterator[Images]:
    with built(container_engine) as made:
        yield made


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return copy_checkout(tmp_path / "clone")


def build(engine: ContainerEngine, root: Path, *words: str) -> tuple[int, str]:
    """The exit code of a build and all that it said."""
    done = engine.run(("build", "--progress", "plain", *words, str(root)), timeout_seconds=BUILD_TIMEOUT_SECONDS)
    return done.returncode, done.stdout + done.stderr


def in_image(engine: ContainerEngine, image: str, script: str, *options: str) -> str:
    """What a shell in the image prints."""
    return engine.docker("run", "--rm", "--network", "none", *options, "--entrypoint", "sh", image, "-c", script)


def layers(engine: ContainerEngine, image: str) -> list[str]:
    found: list[str] = json.loads(engine.docker("inspect", image))[0]["RootFS"]["Layers"]
    return found


@pytest.fixture
def saved(container_engine: ContainerEngine, clone: Path, tmp_path: Path) -> Iterator[Path]:
    """Every layer, and the configuration, of an image that was built where secrets lie about."""
    tenant = next(folder for folder in (clone / "tenants").iterdir() if not folder.name.startswith("_"))
    for place in (clone, tenant, clone / "dagster_apollo"):
        for name in (".env", ".env.tenants", "prod.env", "snowflake.p8", "rsa.pem", "tls.key", "access.yaml"):
            (place / name).write_text(f"SECRET={CANARY}\n")
    (tenant / "profiles.yml").write_text(f"password: {CANARY}\n")
    (clone / ".apollo").mkdir()
    (clone / ".apollo" / "warehouse.duckdb").write_text(CANARY)
    image = container_engine.docker("build", "--quiet", str(clone), timeout_seconds=BUILD_TIMEOUT_SECONDS)
    archive = tmp_path / "image.tar"
    container_engine.docker("save", "--output", str(archive), image)
    yield archive
    container_engine.run(("image", "rm", image))


def test_no_secret_of_the_build_context_is_in_any_layer(saved: Path) -> None:
    forms = [form.encode() for form in forms_of(CANARY)]
    longest = max(len(form) for form in forms)
    found, read = [], 0
    with tarfile.open(saved) as archive:
        for member in archive:
            content = archive.extractfile(member)
            tail = b""
            while content and (block := content.read(1 << 24)):
                window = tail + block
                found += [(member.name, form) for form in forms if form in window]
                tail, read = window[-longest:], read + len(block)

    assert found == []
    assert read > 100_000_000, "that was no whole image"


def test_the_state_folder_is_empty_and_everybodys(container_engine: ContainerEngine, images: Images) -> None:
    assert in_image(container_engine, images.full, f"stat -c '%a %U' {STATE_DIR}; ls -A {STATE_DIR}") == "1777 root"


def test_the_stage_without_tenants_holds_no_code_of_theirs(container_engine: ContainerEngine, images: Images) -> None:
    script = "ls /app/tenants /opt/apollo/baked 2>/dev/null | wc -l"

    assert in_image(container_engine, images.host, script) == "0"
    assert int(in_image(container_engine, images.full, script)) > 0


def test_a_changed_tenant_is_a_few_layers_on_top_of_the_same(
    container_engine: ContainerEngine, images: Images, clone: Path
) -> None:
    tenant = next(folder for folder in (clone / "tenants").iterdir() if not folder.name.startswith("_"))
    (tenant / "models" / "added_by_the_test.sql").write_text("select 1 as id\n")

    with built(container_engine, clone) as changed:
        shared = layers(container_engine, images.host)
        assert changed.host == images.host
        assert layers(container_engine, changed.full)[: len(shared)] == shared
        assert len(layers(container_engine, changed.full)) - len(shared) == 3  # its files, the manifests, the snapshots
        assert changed.full != images.full


def test_everything_is_compiled(container_engine: ContainerEngine, images: Images) -> None:
    imported = "import dagster, dagster_webserver.app, dbt.cli.main, dbt.adapters.snowflake, dagster_apollo.definitions"
    # What is compiled anew says "code object from"; what is taken from bytecode says "matches".
    script = f"python -v -c '{imported}' 2>&1 | grep -E \"code object from|# .*\\.pyc matches\" | grep -v frozen"
    told = in_image(container_engine, images.full, script, "--read-only", "--tmpfs", "/tmp").splitlines()

    assert [line for line in told if "code object from" in line and ".pyc" not in line] == []
    assert len(told) > 1000
    assert in_image(container_engine, images.full, "echo ${PYTHONDONTWRITEBYTECODE:-unset}") == "unset"


def test_manifests_are_there_for_every_tenant(container_engine: ContainerEngine, images: Images) -> None:
    script = "ls /app/tenants | grep -v '^[_.]'; echo --; ls /opt/apollo/baked"
    tenants, _, baked = in_image(container_engine, images.full, script).partition("--")

    assert baked.split() == tenants.split()


@pytest.mark.parametrize(
    ("role", "options", "user", "bounding"),
    [
        # Render starts the image's own user, root, with what an engine grants by default.
        ("webserver", (), "10001", None),
        ("daemon", (), "10001", None),
        ("migrate", (), "10001", None),
        ("code", (), "0", TWO_RIGHTS),
        ("run", (), "0", TWO_RIGHTS),
        # A Docker host says the user and what is granted.
        ("webserver", ("--user", "10001:10001", "--cap-drop", "ALL"), "10001", "0" * 16),
        ("code", ("--user", "0:0", "--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID"), "0", TWO_RIGHTS),
        # The daemon that starts containers, to join the group of the engine's socket.
        ("daemon", ("--user", "0:0", "--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID"), "10001", None),
    ],
)
@pytest.mark.parametrize("words", [(), ("apollo",)], ids=["role", "apollo role"])
def test_a_role_has_the_rights_that_it_needs(
    container_engine: ContainerEngine,
    images: Images,
    tmp_path: Path,
    role: str,
    options: tuple[str, ...],
    user: str,
    bounding: str | None,
    words: tuple[str, ...],
) -> None:
    probe = tmp_path / "probe"
    probe.write_text(PROBE)
    probe.chmod(0o755)
    tmp_path.chmod(0o755)

    told = container_engine.docker(
        "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", *options,
        "--volume", f"{probe}:/opt/venv/bin/apollo:ro", images.full, *words, role,
    ).split("\n")  # fmt: skip

    first, facts = told[0], dict(line.replace("\t", " ").split(":", 1) for line in told[1:])
    assert first == "tini"
    assert set(facts["Uid"].split()) == {user}
    assert facts["NoNewPrivs"].strip() == "1"
    if bounding is not None:
        assert facts["CapBnd"].strip() == bounding
    if user != "0":
        assert facts["CapEff"].strip() == "0" * 16


@pytest.mark.parametrize("role", ["webserver", "daemon", "code", "migrate"])
def test_a_role_without_its_settings_says_which(container_engine: ContainerEngine, images: Images, role: str) -> None:
    done = container_engine.run(
        ("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--tmpfs", STATE_DIR, images.full, role)
    )

    assert done.returncode == 1
    told = done.stdout + done.stderr
    assert "DAGSTER_PG_URI" in told
    assert "Traceback" not in told


def test_tenants_that_cannot_be_parsed_fail_the_build_by_name(container_engine: ContainerEngine, clone: Path) -> None:
    for name, model in (("first_broken", "select * from {{ ref('nowhere') }}"), ("second_broken", "select {{ 1")):
        folder = clone / "tenants" / name
        (folder / "models").mkdir(parents=True)
        (folder / "dbt_project.yml").write_text(f"name: {name}\nprofile: {name}\n")
        (folder / "tenant.yaml").write_text("warehouse: duckdb\n")
        (folder / "models" / "wrong.sql").write_text(model + "\n")

    code, told = build(container_engine, clone, "--target", FULL_STAGE)

    assert code != 0
    assert "first_broken" in told
    assert "nowhere" in told
    assert "second_broken" in told
    assert build(container_engine, clone, "--target", HOST_STAGE)[0] == 0


def test_the_image_says_what_it_was_built_from(container_engine: ContainerEngine) -> None:
    root = str(Path(__file__).parents[2])
    words = ("--quiet", "--build-arg", "REVISION=0123abc", "--build-arg", "VERSION=1.2.3", root)
    image = container_engine.docker("build", *words, timeout_seconds=BUILD_TIMEOUT_SECONDS)
    config = json.loads(container_engine.docker("inspect", image))[0]["Config"]
    container_engine.run(("image", "rm", image))

    assert config["Labels"]["org.opencontainers.image.revision"] == "0123abc"
    assert config["Labels"]["org.opencontainers.image.version"] == "1.2.3"
    assert "APOLLO_RELEASE=0123abc" in config["Env"]
