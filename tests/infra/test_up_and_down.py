"""`make up` and `make down`: what they tell `pulumi` and `docker`, what they make once, what they refuse."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_apollo.errors import ProblemsError
from infra.down import take_down
from infra.up import bring_up
from tests.support.recorded_commands import IDS, RecordedCommands

IMAGE = "ghcr.io/malt/dagster@sha256:" + "a" * 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A fork with somebody who may log in, and a tenant's secret."""
    root = tmp_path / "fork"
    (root / "infra").mkdir(parents=True)
    (root / "apollo.toml").write_text('name = "malt"\nimage = "ghcr.io/malt/dagster"\n')
    (root / "access.yaml").write_text("users:\n  owner: canary-of-a-hash\n")
    (root / ".env").write_text("DBT_TARGET=dev\nRENDER_API_KEY=canary-of-render\nEDITOR=vi\n")
    (root / ".env.tenants").write_text("ACME__SNOWFLAKE_PRIVATE_KEY_B64=canary-of-acme\n")
    return root


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[RecordedCommands]:
    commands = RecordedCommands.install(tmp_path / "bin", "pulumi", "docker")
    commands.answer("pulumi stack output address", "http://127.0.0.1:3000")
    return commands


def environ(commands: RecordedCommands, **more: str) -> dict[str, str]:
    return {"PATH": str(commands.folder), "HOME": "/nonexistent", **more}


def test_up_configures_the_stack_and_says_where_it_is_and_how_to_log_in(
    root: Path, commands: RecordedCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    bring_up(environ(commands), root, image=IMAGE, code_image=IMAGE, port=3456)

    told = capsys.readouterr().out
    assert "up: http://127.0.0.1:3000" in told
    assert "access.yaml" in told
    assert commands.words("pulumi", "up") == [
        ["pulumi", "up", "--yes", "--skip-preview", "--stack", "local", "--non-interactive"]
    ]
    entries = commands.entries
    variables = json.loads(entries.pop("dagster-apollo:variables"))
    assert entries == {
        "dagster-apollo:image": IMAGE, "dagster-apollo:codeImage": IMAGE, "dagster-apollo:port": "3456",
    }  # fmt: skip
    assert len(variables.pop("POSTGRES_PASSWORD")) >= 32
    assert len(variables.pop("APOLLO_SESSION_SECRET")) >= 32
    assert len(variables.pop("APOLLO_CODE_TOKEN")) >= 32
    assert variables == {
        "APOLLO_ACCESS": "users:\n  owner: canary-of-a-hash\n",
        "DBT_TARGET": "dev",
        "ACME__SNOWFLAKE_PRIVATE_KEY_B64": "canary-of-acme",
    }


def test_no_secret_is_a_word_of_a_command_or_printed(
    root: Path, commands: RecordedCommands, capfd: pytest.CaptureFixture[str]
) -> None:
    bring_up(environ(commands), root, image=IMAGE)

    kept = json.loads(commands.entries["dagster-apollo:variables"])
    secrets = [kept["POSTGRES_PASSWORD"], kept["APOLLO_SESSION_SECRET"], "canary"]
    words = json.dumps([call["words"] for call in commands.calls])
    told = "".join(capfd.readouterr())
    passphrase = (root / "infra/.state/passphrase").read_text()
    assert [secret for secret in [*secrets, passphrase] if secret in words or secret in told] == []
    assert "--logtostderr" not in words  # prints what is secret


def test_what_is_missing_is_made_once_and_kept(root: Path, commands: RecordedCommands) -> None:
    bring_up(environ(commands), root, image=IMAGE)
    first = dict(commands.entries)
    bring_up(environ(commands), root, image=IMAGE)

    assert commands.entries == first
    # The same plaintext is not encrypted anew: the stack's file would change for nothing.
    assert len(commands.words("pulumi", "config", "set", "--secret")) == 1


def test_the_state_is_beside_the_program_under_a_passphrase_that_is_made_once(
    root: Path, commands: RecordedCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    bring_up(environ(commands), root, image=IMAGE)
    first = capsys.readouterr().out
    passphrase = root / "infra/.state/passphrase"
    made = passphrase.read_text()
    bring_up(environ(commands), root, image=IMAGE)

    assert str(passphrase) in first
    assert str(passphrase) not in capsys.readouterr().out
    assert passphrase.read_text() == made
    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    assert {call["environ"]["PULUMI_BACKEND_URL"] for call in commands.calls if call["name"] == "pulumi"} == {
        (root / "infra/.state").as_uri()
    }


def test_a_stack_stays_on_its_host_and_port_until_somebody_says_otherwise(
    root: Path, commands: RecordedCommands
) -> None:
    bring_up(environ(commands), root, image=IMAGE, code_image=IMAGE, docker_host="ssh://me@host", port=3456)
    bring_up(environ(commands), root, image=IMAGE)

    entries = commands.entries
    assert entries["dagster-apollo:dockerHost"] == "ssh://me@host"
    assert entries["dagster-apollo:port"] == "3456"
    assert "dagster-apollo:codeImage" not in entries  # of another image than this one
    assert all(words[1:3] == ["--host", "ssh://me@host"] for words in commands.words("docker"))


def test_a_backend_and_passphrase_of_ones_own_are_used(root: Path, commands: RecordedCommands) -> None:
    own = {"PULUMI_BACKEND_URL": "s3://states", "PULUMI_CONFIG_PASSPHRASE_FILE": "/own/passphrase"}

    bring_up(environ(commands, **own), root, image=IMAGE)

    assert not (root / "infra/.state").exists()
    assert all(call["environ"] == own for call in commands.calls if call["name"] == "pulumi")


def test_without_an_image_both_stages_are_built_and_used_by_id(root: Path, commands: RecordedCommands) -> None:
    bring_up(environ(commands), root)

    built = [words[words.index("--target") + 1] for words in commands.words("docker", "build")]
    assert built == ["host", "full"]
    assert commands.entries["dagster-apollo:image"] == f"sha256:{IDS['host']}"
    assert commands.entries["dagster-apollo:codeImage"] == f"sha256:{IDS['full']}"


def test_the_manifests_are_baked_for_the_target_that_the_code_host_runs_with(
    root: Path, commands: RecordedCommands
) -> None:
    bring_up(environ(commands), root)

    [full] = [words for words in commands.words("docker", "build") if "full" in words]
    assert full[full.index("--build-arg") + 1] == "DBT_TARGET=dev"


def test_without_pulumi_it_is_told_where_to_get_it_and_what_else_there_is(root: Path, tmp_path: Path) -> None:
    docker_alone = RecordedCommands.install(tmp_path / "other", "docker")

    with pytest.raises(ProblemsError, match="pulumi: is not on the PATH") as refused:
        bring_up(environ(docker_alone), root, image=IMAGE)

    assert "https://www.pulumi.com/docs/install/" in str(refused.value)
    assert "docker compose up" in str(refused.value)


def test_nobody_who_could_log_in_is_told_before_anything_is_built(root: Path, commands: RecordedCommands) -> None:
    (root / "access.yaml").unlink()

    with pytest.raises(ProblemsError, match="nobody could log in"):
        bring_up(environ(commands), root)

    assert commands.words("docker", "build") == []
    assert commands.words("pulumi", "up") == []


def test_another_database_password_is_refused_since_the_database_would_not_learn_of_it(
    root: Path, commands: RecordedCommands
) -> None:
    bring_up(environ(commands), root, image=IMAGE)
    with (root / ".env").open("a") as file:
        file.write("POSTGRES_PASSWORD=canary-of-another\n")

    with pytest.raises(ProblemsError, match="is not the one that the database was made with") as refused:
        bring_up(environ(commands), root, image=IMAGE)

    assert "canary" not in str(refused.value)


def test_data_whose_password_nobody_knows_is_not_taken_over(root: Path, commands: RecordedCommands) -> None:
    commands.answer("docker volume ls", "malt_postgres")

    with pytest.raises(ProblemsError, match="volume malt_postgres: is there already"):
        bring_up(environ(commands), root, image=IMAGE)

    assert commands.words("pulumi", "up") == []


def test_what_did_not_come_up_is_shown_with_its_log(
    root: Path, commands: RecordedCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.answer("pulumi up", code=255)
    statuses = "malt-dagster-code\tUp 2 minutes (unhealthy)\nmalt-dagster-postgres\tUp 2 minutes (healthy)\nx\tExited"
    commands.answer("docker ps", statuses)
    commands.answer("docker logs", "the reason")

    with pytest.raises(ProblemsError, match="did not come up"):
        bring_up(environ(commands), root, image=IMAGE)

    told = capsys.readouterr().err
    assert "malt-dagster-code (Up 2 minutes (unhealthy))\nthe reason" in told
    assert "postgres" not in told


@pytest.mark.parametrize("file", [".env", ".env.tenants"])
def test_a_line_that_is_no_setting_is_named_and_not_shown(root: Path, commands: RecordedCommands, file: str) -> None:
    (root / file).write_text("GOOD=1\n'canary\n")

    with pytest.raises(ProblemsError, match=f"{file}, line 2: is not a setting") as refused:
        bring_up(environ(commands), root, image=IMAGE)

    assert "canary" not in str(refused.value)


def test_down_keeps_the_data_unless_somebody_says_otherwise(
    root: Path, commands: RecordedCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.answer("docker volume ls", "malt_postgres\nmalt_state\nsomebody_elses")

    take_down(environ(commands), root)

    assert "kept: malt_postgres, malt_state" in capsys.readouterr().out
    assert [words[1:3] for words in commands.words("pulumi", "destroy")] == [["destroy", "--yes"]]
    assert "--exclude-protected" in commands.words("pulumi", "destroy")[0]
    assert commands.words("docker", "volume", "rm") == []
    assert commands.words("pulumi", "stack", "rm") == []


def test_down_with_the_data_removes_the_volumes_of_this_fork_and_the_stack(
    root: Path, commands: RecordedCommands
) -> None:
    commands.answer("docker volume ls", "malt_postgres\nmalt_state\nsomebody_elses")

    take_down(environ(commands), root, data=True)

    order = [words[1:3] for words in commands.words("pulumi") if words[1] in ("destroy", "state")]
    assert order == [["destroy", "--yes"], ["state", "unprotect"], ["destroy", "--yes"]]
    assert commands.words("docker", "volume", "rm") == [["docker", "volume", "rm", "malt_postgres", "malt_state"]]
    assert len(commands.words("pulumi", "stack", "rm")) == 1


def test_down_that_fails_removes_no_data(root: Path, commands: RecordedCommands) -> None:
    commands.answer("docker volume ls", "malt_postgres\nmalt_state")
    commands.answer("pulumi destroy", code=255)

    with pytest.raises(ProblemsError, match="did not do all of it"):
        take_down(environ(commands), root, data=True)

    assert commands.words("docker", "volume", "rm") == []
