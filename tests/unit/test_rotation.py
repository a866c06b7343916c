"""A key is replaced step by step, from wherever an earlier try stopped, and some key always works."""

from __future__ import annotations

import base64
import hashlib
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from dagster_apollo.errors import KeyPairError
from dagster_apollo.warehouse.keypair import PrivateKey, read_private_key
from dagster_apollo.warehouse.rotation import (
    Slot,
    Slots,
    Step,
    alter_user_sql,
    new_key_pair,
    parse_desc_user,
    plan_rotation,
    quoted_identifier,
    read_slots,
    unset_user_sql,
)

PASSPHRASE = "correct-horse-Battery"
STRANGER = "SHA256:" + base64.b64encode(bytes(32)).decode()


@pytest.fixture(scope="session")
def old() -> PrivateKey:
    return PrivateKey.of(rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="session")
def new() -> PrivateKey:
    return PrivateKey.of(rsa.generate_private_key(65537, 2048))


# ---- The new key. ----


def test_a_new_key_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.p8"

    made = new_key_pair(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = read_private_key(path=str(path))
    assert (read.fingerprint, read.bits, read.notes) == (made.fingerprint, 2048, ())


def test_a_new_key_with_a_passphrase_is_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "key.p8"

    made = new_key_pair(path, bits=3072, passphrase=PASSPHRASE)

    assert "BEGIN ENCRYPTED PRIVATE KEY" in path.read_text()
    assert read_private_key(path=str(path), passphrase=PASSPHRASE) == made
    assert made.bits == 3072


@pytest.mark.parametrize("there", [lambda path: path.write_text("mine"), lambda path: path.symlink_to("elsewhere")])
def test_a_file_that_exists_is_never_overwritten(there: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "key.p8"
    there(path)

    with pytest.raises(KeyPairError, match="exists and is never overwritten"):
        new_key_pair(path)

    assert path.is_symlink() or path.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_all_that_is_wrong_with_a_new_key_is_told_together(tmp_path: Path) -> None:
    with pytest.raises(KeyPairError) as caught:
        new_key_pair(tmp_path / "nowhere" / "key.p8", bits=1024, passphrase="")

    assert [problem.where for problem in caught.value.problems] == ["bits", "passphrase", str(tmp_path / "nowhere")]
    assert "Create it first" in str(caught.value)


def test_a_folder_that_takes_no_files_is_told_of() -> None:
    with pytest.raises(KeyPairError, match=r"can't be written: .*Choose a folder"):
        new_key_pair("/proc/key.p8")


# ---- SQL and answers. ----


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("dbt_prod", "DBT_PROD"),
        ("DBT$1", "DBT$1"),
        ("1dbt", '"1dbt"'),
        ("dbt-prod", '"dbt-prod"'),
        ("svc@example.com", '"svc@example.com"'),
        ('a"b; DROP USER c', '"a""b; DROP USER c"'),
        ('"As Is"', '"As Is"'),
        ('"', '""""'),
        ('"a" DROP "b"', '"""a"" DROP ""b"""'),
    ],
)
def test_a_users_name_is_quoted_where_it_must_be(name: str, sql: str) -> None:
    assert quoted_identifier(name) == sql


@pytest.mark.parametrize("name", ["", " ", '""'])
def test_a_user_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(KeyPairError, match="user: is empty"):
        unset_user_sql(name, Slot.FIRST)


def test_the_statements_name_user_slot_and_public_key(new: PrivateKey) -> None:
    body = new.public_key_body()

    assert alter_user_sql("dbt", new, Slot.FIRST) == f"ALTER USER DBT SET RSA_PUBLIC_KEY='{body}';"
    assert alter_user_sql("d-b", new, Slot.SECOND) == f"ALTER USER \"d-b\" SET RSA_PUBLIC_KEY_2='{body}';"
    assert unset_user_sql("dbt", Slot.SECOND) == "ALTER USER DBT UNSET RSA_PUBLIC_KEY_2;"


@pytest.mark.parametrize("null", ["null", "", None])
@pytest.mark.parametrize("mapping", [False, True])
def test_slots_are_read_from_tuples_and_mappings(null: str | None, mapping: bool) -> None:
    rows: list[tuple[str, str | None]] = [
        ("NAME", "DBT"),
        ("RSA_PUBLIC_KEY", "MIIB"),
        ("RSA_PUBLIC_KEY_FP", STRANGER),
        ("RSA_PUBLIC_KEY_2_FP", null),
    ]
    answer = [{"property": name, "value": value} for name, value in rows] if mapping else rows

    assert parse_desc_user(answer) == Slots(STRANGER, None)


def test_an_answer_that_shows_no_slot_is_not_taken_for_a_free_slot() -> None:
    with pytest.raises(KeyPairError, match=r"shows no RSA_PUBLIC_KEY_2_FP\. Ask with a role that owns the user"):
        parse_desc_user([("RSA_PUBLIC_KEY_FP", STRANGER)])


# ---- The plan. ----


class User:
    """A Snowflake user's two slots, changed by the very statements of the plan."""

    def __init__(self, first: PrivateKey | None = None, second: PrivateKey | None = None) -> None:
        self.keys = {slot: key.fingerprint for slot, key in zip(Slot, (first, second), strict=True) if key}

    def execute(self, sql: str) -> list[tuple[str, str]]:
        if sql == "DESC USER DBT;":
            return [(f"{slot}_FP", self.keys.get(slot, "null")) for slot in Slot]
        if found := re.fullmatch(r"ALTER USER DBT SET (\w+)='([A-Za-z0-9+/=]+)';", sql):
            digest = hashlib.sha256(base64.b64decode(found[2])).digest()
            self.keys[Slot(found[1])] = "SHA256:" + base64.b64encode(digest).decode()
        elif found := re.fullmatch(r"ALTER USER DBT UNSET (\w+);", sql):
            del self.keys[Slot(found[1])]
        else:
            raise AssertionError(f"Snowflake was asked for something else: {sql}")
        return []


def actions(steps: list[Step]) -> list[str]:
    return [step.action for step in steps]


def test_a_rotation_fills_the_free_slot_and_empties_the_other(old: PrivateKey, new: PrivateKey) -> None:
    steps = plan_rotation(Slots(old.fingerprint, None), old.fingerprint, new, user="dbt", variable="THE_KEY")

    assert [(step.action, step.who, step.sql) for step in steps] == [
        ("register", "owner", alter_user_sql("dbt", new, Slot.SECOND)),
        ("verify", "new key", "SELECT CURRENT_USER();"),
        ("switch", "operator", None),
        ("unset", "owner", unset_user_sql("dbt", Slot.FIRST)),
    ]
    assert "THE_KEY" in steps[2].title
    assert old.fingerprint in steps[3].explanation


def test_the_next_rotation_goes_the_other_way(old: PrivateKey, new: PrivateKey) -> None:
    steps = plan_rotation(Slots(None, old.fingerprint), old.fingerprint, new, user="dbt")

    assert steps[0].sql == alter_user_sql("dbt", new, Slot.FIRST)
    assert steps[-1].sql == unset_user_sql("dbt", Slot.SECOND)


@pytest.mark.parametrize("first_slot", [True, False])
def test_planning_anew_after_every_step_ends_with_the_new_key_alone(
    first_slot: bool, old: PrivateKey, new: PrivateKey
) -> None:
    user = User(old) if first_slot else User(None, old)
    environment, verified, done = old.fingerprint, False, []

    while steps := plan_rotation(read_slots(user.execute, "dbt"), environment, new, user="dbt"):
        # Nothing remembers that a login was tried, so `verify` is planned again until the environment is switched.
        step = steps[1] if verified and steps[0].action == "verify" else steps[0]
        done.append(step.action)
        verified = verified or step.action == "verify"
        if step.action == "switch":
            environment = new.fingerprint
        elif step.action != "verify" and step.sql:
            user.execute(step.sql)
        assert environment in user.keys.values(), f"nothing can log in after {done}"

    assert done == ["register", "verify", "switch", "unset"]
    assert list(user.keys.values()) == [new.fingerprint]


def test_a_new_key_that_is_registered_already_is_verified(old: PrivateKey, new: PrivateKey) -> None:
    steps = plan_rotation(Slots(new.fingerprint, old.fingerprint), old.fingerprint, new, user="dbt")

    assert actions(steps) == ["verify", "switch", "unset"]
    assert steps[-1].sql == unset_user_sql("dbt", Slot.SECOND)


def test_after_the_switch_only_the_old_key_is_left_to_unset(old: PrivateKey, new: PrivateKey) -> None:
    [step] = plan_rotation(Slots(old.fingerprint, new.fingerprint), new.fingerprint, new, user="dbt")

    assert step.sql == unset_user_sql("dbt", Slot.FIRST)
    assert old.fingerprint in step.explanation


@pytest.mark.parametrize("other", [False, True])
def test_a_new_key_that_is_the_current_and_the_only_one_leaves_nothing_to_do(other: bool, new: PrivateKey) -> None:
    slots = Slots(new.fingerprint, new.fingerprint if other else None)

    assert plan_rotation(slots, new.fingerprint, new, user="dbt") == []


def test_an_environment_that_was_switched_too_early_is_caught_up_with(old: PrivateKey, new: PrivateKey) -> None:
    steps = plan_rotation(Slots(old.fingerprint, None), new.fingerprint, new, user="dbt")

    assert actions(steps) == ["register", "verify", "unset"]


def test_an_old_key_that_was_unset_too_early_is_left_behind(old: PrivateKey, new: PrivateKey) -> None:
    assert actions(plan_rotation(Slots(None, new.fingerprint), old.fingerprint, new, user="dbt")) == [
        "verify",
        "switch",
    ]


def test_a_first_key_is_registered_and_nothing_is_unset(new: PrivateKey) -> None:
    assert actions(plan_rotation(Slots(None, None), None, new, user="dbt")) == ["register", "verify", "switch"]
    assert actions(plan_rotation(Slots(STRANGER, None), None, new, user="dbt")) == ["register", "verify", "switch"]


def test_the_same_key_in_both_slots_leaves_one_of_them_to_fill(old: PrivateKey, new: PrivateKey) -> None:
    steps = plan_rotation(Slots(old.fingerprint, old.fingerprint), old.fingerprint, new, user="dbt")

    assert steps[0].sql == alter_user_sql("dbt", new, Slot.SECOND)
    assert steps[-1].sql == unset_user_sql("dbt", Slot.FIRST)


@pytest.mark.parametrize("slot", Slot)
def test_two_full_slots_are_refused_with_the_unknown_fingerprint(slot: Slot, old: PrivateKey, new: PrivateKey) -> None:
    slots = Slots(STRANGER, old.fingerprint) if slot is Slot.FIRST else Slots(old.fingerprint, STRANGER)

    with pytest.raises(KeyPairError) as caught:
        plan_rotation(slots, old.fingerprint, new, user="dbt")

    [problem] = caught.value.problems
    assert f"{slot} by a key that is not in the environment, {STRANGER}" in problem.what
    assert unset_user_sql("dbt", slot) in problem.remedy
    assert old.fingerprint not in str(problem)


def test_a_current_key_in_neither_slot_is_refused(old: PrivateKey, new: PrivateKey) -> None:
    with pytest.raises(KeyPairError, match=r"is in neither slot.*account and user"):
        plan_rotation(Slots(STRANGER, None), old.fingerprint, new, user="dbt")


def test_a_current_key_in_neither_of_two_full_slots_names_all_that_is_unclear(old: PrivateKey, new: PrivateKey) -> None:
    with pytest.raises(KeyPairError) as caught:
        plan_rotation(Slots(STRANGER, STRANGER[:-2] + "E="), old.fingerprint, new, user="dbt")

    assert len(caught.value.problems) == 3
    assert old.fingerprint in str(caught.value)


def test_no_step_shows_a_private_key(old: PrivateKey, new: PrivateKey) -> None:
    steps = plan_rotation(Slots(old.fingerprint, None), old.fingerprint, new, user="dbt")

    for secret in (new.der_base64(), old.der_base64()):
        private_part = secret[60:]
        windows = {private_part[start : start + 40] for start in range(len(private_part) - 40)}
        public = new.public_key_body()
        assert not [window for window in windows if window in repr(steps) and window not in public]
