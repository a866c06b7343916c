"""`apollo init`: answers become `apollo.toml` with its comments kept, and a Docker host gets what it lacks."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dagster_apollo.access.identity.access_source import read
from dagster_apollo.access.identity.passwords import matches
from dagster_apollo.cli import console
from dagster_apollo.cli import fork as fork_commands
from dagster_apollo.errors import ProblemsError
from dagster_apollo.fork import ForkError, load_fork
from dagster_apollo.new_fork import Answers, edited, guess_image, prepare_docker_host, problem_of, write_fork
from tests.support.checkout import REPOSITORY, copy_checkout

TEXT = (REPOSITORY / "apollo.toml").read_text()
NOTHING = Answers({}, {})


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = copy_checkout(tmp_path / "clone")
    monkeypatch.setattr(console, "repository_root", lambda: made)
    for name in ("APOLLO_ACCESS", "APOLLO_ACCESS_PATH"):
        monkeypatch.delenv(name, raising=False)
    return made


def origin(clone: Path, url: str) -> None:
    (clone / ".git").mkdir()
    (clone / ".git" / "config").write_text(f'[core]\n\tbare = false\n[remote "origin"]\n\turl = {url}\n')


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(fork_commands.app, list(words))
    if isinstance(done.exception, ProblemsError):
        return 1, str(done.exception)
    return done.exit_code, done.output


def test_no_answer_changes_nothing() -> None:
    assert edited(TEXT, NOTHING) == TEXT


def test_an_answer_changes_its_line_and_every_comment_stays() -> None:
    after = edited(TEXT, Answers({"name": "malt", "domain": "data.malt.com"}, {"code": "2c-4g"}))

    def comments(text: str) -> list[str]:
        return re.findall(r"(?m)#([^#\n]*)$", text)

    assert tomllib.loads(after)["name"] == "malt"
    assert tomllib.loads(after)["domain"] == "data.malt.com"
    assert tomllib.loads(after)["plans"]["code"] == "2c-4g"
    assert comments(after) == comments(TEXT)
    assert after.index("domain =") < after.index("[plans]")


def test_a_domain_is_taken_out_again() -> None:
    with_domain = edited(TEXT, Answers({"domain": "data.malt.com"}, {}))

    assert "domain" not in tomllib.loads(edited(with_domain, Answers({"domain": ""}, {})))


def test_who_may_log_in_is_added_once() -> None:
    answers = Answers({}, {}, ("malt.com",), ("anna@malt.com",))
    login = tomllib.loads(edited(edited(TEXT, answers), answers))["login"]

    assert login == {
        "domains": {"malt.com": {"role": "viewer"}},
        "emails": {"anna@malt.com": {"role": "administrator"}},
    }


def test_bad_answers_are_refused_together_and_nothing_is_written(clone: Path) -> None:
    with pytest.raises(ForkError) as error:
        write_fork(clone, Answers({"name": "Malt!", "region": "mars"}, {"code": "huge"}))

    assert all(field in str(error.value) for field in ("name", "region", "plans.code"))
    assert (clone / "apollo.toml").read_text() == TEXT


def test_a_field_is_judged_by_itself_for_somebody_who_is_asked() -> None:
    assert problem_of("plans.code", "1c-2g") is None
    assert problem_of("region", "mars") is not None


def test_what_derives_from_the_answers_is_written_anew(clone: Path) -> None:
    write_fork(clone, Answers({"name": "malt", "region": "ohio", "domain": "data.malt.com"}, {"database": "pro-4gb"}))

    blueprint = yaml.safe_load((clone / "render.yaml").read_text())
    assert {service["region"] for service in blueprint["services"]} == {"ohio"}
    assert blueprint["databases"][0]["plan"] == "pro-4gb"
    assert yaml.safe_load((clone / "compose.yaml").read_text())["name"] == "malt"
    assert "caddy" in (clone / "compose.yaml").read_text()
    assert write_fork(clone, NOTHING) == []


@pytest.mark.parametrize(
    ("url", "image"),
    [
        ("git@github.com:Malt-Co/Data.git", "ghcr.io/malt-co/data"),
        ("https://github.com/malt/data", "ghcr.io/malt/data"),
        ("ssh://git@github.com/malt/data.git", "ghcr.io/malt/data"),
        ("https://anna:hunter2@gitlab.com/malt/tools/data.git", "registry.gitlab.com/malt/tools/data"),
        ("https://git.malt.example/data.git", None),
        ("../elsewhere", None),
    ],
)
def test_the_image_is_guessed_from_where_the_clone_is_from(tmp_path: Path, url: str, image: str | None) -> None:
    origin(tmp_path, url)

    assert guess_image(tmp_path) == image


def test_a_folder_without_git_has_no_guess(tmp_path: Path) -> None:
    assert guess_image(tmp_path) is None


def variables(clone: Path) -> dict[str, str]:
    lines = (clone / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_a_docker_host_gets_its_secrets_and_somebody_who_may_log_in(clone: Path) -> None:
    names, login = prepare_docker_host(clone, clone / "access.yaml", administrator="anna")

    assert names == ["APOLLO_ACCESS", "APOLLO_CODE_TOKEN", "APOLLO_SESSION_SECRET", "POSTGRES_PASSWORD"]
    assert len(variables(clone)["APOLLO_SESSION_SECRET"]) >= 32
    assert stat.S_IMODE((clone / ".env").stat().st_mode) == 0o600
    assert login is not None
    assert login.password not in repr(login)
    user = read(clone / "access.yaml").users["anna"]
    assert user.role == "administrator"
    assert matches(user.password_hash, login.password)
    assert login.password not in (clone / ".env").read_text() + (clone / "access.yaml").read_text()


def test_what_a_docker_host_has_is_never_made_anew(clone: Path) -> None:
    (clone / ".env").write_text("# mine\nexport POSTGRES_PASSWORD=keep\nPORT=3001\nAPOLLO_SESSION_SECRET=\n")
    first = prepare_docker_host(clone, clone / "access.yaml", administrator="anna")
    again = prepare_docker_host(clone, clone / "access.yaml", administrator="anna")

    assert first[0] == ["APOLLO_ACCESS", "APOLLO_CODE_TOKEN", "APOLLO_SESSION_SECRET"]
    assert again == ([], None)
    assert (clone / ".env").read_text().startswith("# mine\nexport POSTGRES_PASSWORD=keep\nPORT=3001\n")
    assert len(variables(clone)["APOLLO_SESSION_SECRET"]) >= 32


def test_a_changed_access_file_is_taken_over(clone: Path) -> None:
    prepare_docker_host(clone, clone / "access.yaml", administrator="anna")
    before = variables(clone)
    (clone / "access.yaml").write_text((clone / "access.yaml").read_text().replace("anna", "berta"))

    assert prepare_docker_host(clone, clone / "access.yaml", administrator="anna") == (["APOLLO_ACCESS"], None)
    after = variables(clone)
    assert {name for name in after if after[name] != before[name]} == {"APOLLO_ACCESS"}


def test_options_answer_where_nobody_can_be_asked(clone: Path) -> None:
    origin(clone, "git@github.com:malt/data.git")
    code, told = run("--name", "malt", "--plan", "code=2c-4g", "--allow", "malt.com", "--administrator", "a@malt.com")

    assert code == 0, told
    fork = load_fork(clone)
    assert (fork.name, fork.image, fork.plans.code) == ("malt", "ghcr.io/malt/data", "2c-4g")
    assert fork.login.emails["a@malt.com"].role == "administrator"
    assert not (clone / ".env").exists()


def test_a_docker_hosts_first_login_is_shown_once(clone: Path) -> None:
    _, first = run("--yes", "--docker-host")
    _, again = run("--yes", "--docker-host")

    assert "log in as admin with the password" in first
    assert "password" not in again


def test_without_options_and_without_anybody_to_ask_it_says_what_to_give(clone: Path) -> None:
    code, told = run()

    assert code == 1
    assert "--help" in told


@pytest.mark.parametrize("plan", ["code", "cod=1c-2g", "=1c-2g", "code="])
def test_a_plan_that_names_no_service_is_refused(clone: Path, plan: str) -> None:
    code, told = run("--plan", plan)

    assert code == 1
    assert "SERVICE=PLAN" in told


@pytest.mark.parametrize("name", ["Ada", "ada lovelace", ""])
def test_an_administrator_of_no_such_name_is_refused_before_anything_is_written(clone: Path, name: str) -> None:
    before = {path.name: path.read_bytes() for path in clone.iterdir() if path.is_file()}

    code, said = run("--yes", "--docker-host", "--administrator", name, "--name", "malt")

    assert code == 1
    assert "is not a name" in said
    assert {path.name: path.read_bytes() for path in clone.iterdir() if path.is_file()} == before
