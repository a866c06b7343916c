"""The access file: strict, told of as a whole when it is wrong, and read again when it changes."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagster_apollo.access.identity.access_file import AccessFile, TokenEntry, digest_of, parse, render, wrapped
from dagster_apollo.access.identity.access_source import AccessSource, change
from dagster_apollo.access.identity.passwords import hash_password, is_hash, matches, weakness
from dagster_apollo.errors import AccessFileError, Problem
from tests.support.guarded_app import access_file, token, user

HASH = hash_password("nine wet otters sing")


def problems(text: str) -> str:
    with pytest.raises(AccessFileError) as error:
        parse(text, "access.yaml")
    return str(error.value)


def test_what_is_written_is_what_is_read() -> None:
    content = access_file(bob=user("operator", ("a", "b"), confined=True), ci=token("operator")[1])

    assert parse(render(content), "x") == content
    assert parse(wrapped(content), "x") == content


@pytest.mark.parametrize("name", ["yes", "null", "1234", "1e3", "0x1f", "2020-01-01", "no"])
def test_a_name_that_yaml_would_take_for_something_else_stays_a_name(name: str) -> None:
    content = AccessFile().with_user(name, user())

    assert parse(render(content), "x") == content


def test_nothing_is_nobody() -> None:
    assert parse("", "x") == parse("# a comment\n", "x") == AccessFile()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("users: [", "is not YAML"),
        ("users: {a: {password_hash: x}}", "users.a: `password_hash` is not an argon2id hash"),
        ("users: {a: {}}", "users.a.password_hash"),
        (f"users: {{a: {{password_hash: '{HASH}', role: king}}}}", "users.a.role"),
        (f"users: {{a: {{password_hash: '{HASH}', colour: red}}}}", "users.a.colour"),
        (f"users: {{a: {{password_hash: '{HASH}', confined: true}}}}", "`confined` needs `tenants`"),
        (f"users: {{A: {{password_hash: '{HASH}'}}}}", "'A' is not a name"),
        ("people: {}", "people"),
        ("tokens: {a: {sha256: 12, expires: 2030-01-01T00:00:00Z}}", "tokens.a.sha256"),
        (f"tokens: {{a: {{sha256: {'a' * 64}, expires: 2030-01-01}}}}", "tokens.a.expires"),
        (f"tokens: {{a: {{sha256: {'a' * 64}}}}}", "tokens.a.expires"),
        ("just words", "neither the text of an access file nor the base64 of one"),
        ("- a\n- b\n", "neither the text of an access file nor the base64 of one"),
        ("users:\n  a: {}\n  a: {}\n", "line 3: a key stands there for the second time"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(text: str, told: str) -> None:
    assert told in problems(text)


def test_everything_that_is_wrong_is_told_together() -> None:
    told = problems("users: {a: {}, b: {password_hash: x}}\ntokens: {c: {}}")

    assert all(where in told for where in ("users.a", "users.b", "tokens.c"))


def test_no_message_holds_a_hash() -> None:
    told = problems(
        f"users: {{a: {{password_hash: '{HASH}x$y', role: king}}}}\ntokens: {{b: {{sha256: '{'e' * 63}'}}}}"
    )

    assert HASH not in told
    assert "e" * 63 not in told


def test_a_name_is_a_user_or_a_token() -> None:
    with pytest.raises(ValueError, match="both a user and a token"):
        access_file(ci=user()).with_token("ci", token()[1])


def test_no_representation_holds_a_hash() -> None:
    assert HASH not in repr(user())
    assert token()[1].sha256 not in repr(token()[1])


def test_a_token_ends_at_its_end() -> None:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    entry = TokenEntry(sha256=digest_of("x"), expires=end)

    assert not entry.is_over(end - timedelta(seconds=1))
    assert entry.is_over(end)


class TestReadingAgain:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "access.yaml"
        file.write_text(render(access_file()))
        return file

    def test_a_change_is_seen(self, file: Path) -> None:
        source = AccessSource.of_file(file)
        change(file, lambda before: before.with_user("bob", user()))
        assert set(source.current().users) == {"ada", "bob"}

    def test_a_file_in_its_place_is_seen_even_of_the_same_size_and_age(self, file: Path) -> None:
        source = AccessSource.of_file(file)
        other = file.with_name("other")
        other.write_text(file.read_text().replace("ada:", "eve:"))
        os.utime(other, ns=(file.stat().st_mtime_ns, file.stat().st_mtime_ns))
        os.replace(other, file)
        assert set(source.current().users) == {"eve"}

    def test_a_file_that_comes_later_is_seen(self, tmp_path: Path) -> None:
        source = AccessSource.of_file(tmp_path / "later.yaml")
        assert source.current() == AccessFile()
        (tmp_path / "later.yaml").write_text(render(access_file()))
        assert set(source.current().users) == {"ada"}

    def test_a_file_that_turns_wrong_is_said_once_and_mended_later(
        self, file: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = AccessSource.of_file(file)
        file.write_text("users: [")
        assert set(source.current().users) == set(source.current().users) == {"ada"}
        assert len([record for record in caplog.records if "holds" in record.message]) == 1
        file.write_text(render(access_file(bob=user())))
        assert set(source.current().users) == {"ada", "bob"}

    def test_it_is_written_where_it_is_mounted(self, file: Path) -> None:
        before = file.stat().st_ino
        change(file, lambda content: content.without("ada"))
        assert file.stat().st_ino == before
        assert parse(file.read_text(), "x") == AccessFile()


class TestPasswords:
    def test_only_the_password_fits(self) -> None:
        assert matches(HASH, "nine wet otters sing")
        assert not matches(HASH, "nine wet otters sing ")
        assert not matches(None, "nine wet otters sing")
        assert not matches("$argon2id$broken", "x")

    def test_the_same_password_of_another_keyboard_fits(self) -> None:
        assert matches(hash_password("ett långt lösen till"), "ett la\u030angt lo\u0308sen till")

    def test_a_hash_is_argon2id_of_the_recommended_cost(self) -> None:
        assert HASH.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert is_hash(HASH)

    @pytest.mark.parametrize(
        "password", ["nine wet otters sing", "xK9#mQ2$vL5p", "det regnar i Umeå idag", "tpnrqkzmwvbx"]
    )
    def test_a_long_one_is_taken(self, password: str) -> None:
        assert weakness("ada", password) is None

    @pytest.mark.parametrize(
        "password",
        [
            "elevenchars", "password1234", "Passw0rd!2024", "qwertyuiopasdf", "abcabcabcabc", "111111111111",
            "ada.lovelace1", "lovelacelovelace", "dagster-apollo-2026", "welcomeadmin1", "zyxwvutsrqpo", "987654321098",
        ],
    )  # fmt: skip
    def test_a_weak_one_is_not(self, password: str) -> None:
        assert weakness("ada.lovelace", password) is not None


def test_a_change_that_is_refused_leaves_no_new_file_behind(tmp_path: Path) -> None:
    def refuse(content: AccessFile) -> AccessFile:
        raise AccessFileError([Problem("ada", "is refused", "Do nothing.")])

    with pytest.raises(AccessFileError):
        change(tmp_path / "access.yaml", refuse)

    assert not list(tmp_path.iterdir())
