"""Replaces a Snowflake user's key without a moment in which no key works, by way of the user's two key slots.

A plan is a pure function of what the slots hold and which key the environment holds, so a rotation that was
interrupted goes on by planning anew. SQL is text; whoever executes it (an owner of the user, as a rule not the user
itself) is passed in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import rsa

from dagster_apollo.errors import KeyPairError, Problem
from dagster_apollo.warehouse.keypair import MINIMUM_BITS, VARIABLES, PrivateKey

Row = Mapping[str, object] | Sequence[object]
Execute = Callable[[str], Iterable[Row]]


class Slot(StrEnum):
    """The two properties of a Snowflake user that hold a public key; either lets a login in."""

    FIRST = "RSA_PUBLIC_KEY"
    SECOND = "RSA_PUBLIC_KEY_2"

    @property
    def other(self) -> Slot:
        return Slot.SECOND if self is Slot.FIRST else Slot.FIRST


@dataclass(frozen=True)
class Slots:
    """The fingerprints (`SHA256:…`) of the keys in a user's slots; None where a slot is free."""

    first_fp: str | None
    second_fp: str | None

    def fingerprint(self, slot: Slot) -> str | None:
        return self.first_fp if slot is Slot.FIRST else self.second_fp

    def holding(self, fingerprint: str | None) -> Slot | None:
        """The first slot with this key, or None."""
        return next((slot for slot in Slot if fingerprint and self.fingerprint(slot) == fingerprint), None)

    def free(self) -> Slot | None:
        """A slot that can be filled: an empty one, or the second of two with the same key."""
        if self.first_fp == self.second_fp:
            return Slot.SECOND if self.first_fp else Slot.FIRST
        return next((slot for slot in Slot if self.fingerprint(slot) is None), None)


@dataclass(frozen=True)
class Step:
    """One thing to do in a rotation.

    Attributes:
        action: what a program goes by.
        title: what it is, in a line.
        sql: what Snowflake is told, or None if nothing is.
        who: whose session or hands: `owner` of the user (a role with OWNERSHIP), `new key` (a login of the user
            with the new key), `operator` (a person where the environment's variables are kept).
        explanation: why, and what to wait for.
    """

    action: Literal["register", "verify", "switch", "unset"]
    title: str
    sql: str | None
    who: Literal["owner", "new key", "operator"]
    explanation: str


# ---- The new key. ----


def new_key_pair(path: str | Path, *, bits: int = MINIMUM_BITS, passphrase: str | None = None) -> PrivateKey:
    """Make a key and write it to a new file, PKCS#8 PEM, readable by its owner alone.

    Args:
        path: where it goes; `~` is expanded, the folder must exist, the file must not.
        bits: the length of the modulus, 2048 or more.
        passphrase: encrypts the file; None leaves it plain.

    Raises:
        KeyPairError: the file exists, or can't be written, or bits or passphrase are out of bounds.
    """
    file = Path(path).expanduser()
    problems = []
    if bits < MINIMUM_BITS:
        problems.append(Problem("bits", f"{bits} is less than Snowflake's minimum", f"Use {MINIMUM_BITS} or 4096"))
    if passphrase == "":
        problems.append(Problem("passphrase", "is empty", "Give one, or none at all for a plain key"))
    if not file.parent.is_dir():
        problems.append(Problem(str(file.parent), "is not a folder", "Create it first, readable by its owner alone"))
    elif os.path.lexists(file):
        problems.append(Problem(str(file), "exists and is never overwritten", "Choose another name"))
    if problems:
        raise KeyPairError(problems, "no key was made")
    key = PrivateKey.of(rsa.generate_private_key(public_exponent=65537, key_size=bits))
    _write_new(file, key.encrypted_pem(passphrase) if passphrase else key.pem())
    return key


def _write_new(file: Path, text: str) -> None:
    """Write a file that did not exist, mode 0600; what could be written only in part is removed."""
    created = False
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        created = True
        with open(descriptor, "w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
    except OSError as error:
        if created:
            file.unlink(missing_ok=True)
        problem = Problem(str(file), f"can't be written: {error.strerror}", "Choose a folder that you may write to")
    else:
        return
    raise KeyPairError([problem], "no key was made")


# ---- SQL, and what Snowflake answers. ----


def quoted_identifier(name: str) -> str:
    """A user's name as SQL has it: upper case if it is plain, else in double quotes, its case kept.

    A name that comes in double quotes stays as it is.
    https://docs.snowflake.com/en/sql-reference/identifiers-syntax

    Raises:
        KeyPairError: the name is empty.
    """
    name = name.strip()
    if not name or name == '""':
        raise KeyPairError([Problem("user", "is empty", "Name the Snowflake user that the key is for")])
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", name):
        return name.upper()
    if re.fullmatch(r'"(?:[^"]|"")+"', name):
        return name
    return '"' + name.replace('"', '""') + '"'


def alter_user_sql(user: str, key: PrivateKey, slot: Slot) -> str:
    """The statement that puts a key's public half into a slot."""
    return f"ALTER USER {quoted_identifier(user)} SET {slot}='{key.public_key_body()}';"


def unset_user_sql(user: str, slot: Slot) -> str:
    """The statement that empties a slot."""
    return f"ALTER USER {quoted_identifier(user)} UNSET {slot};"


def read_slots(execute: Execute, user: str) -> Slots:
    """Ask Snowflake for a user's slots.

    Args:
        execute: runs a statement in a session of a role that may describe the user, and returns its rows.

    Raises:
        KeyPairError: the answer doesn't show both slots.
    """
    return parse_desc_user(execute(f"DESC USER {quoted_identifier(user)};"))


def parse_desc_user(rows: Iterable[Row]) -> Slots:
    """The slots' fingerprints in the rows of DESC USER, which are tuples (property, value, …) or mappings.

    Raises:
        KeyPairError: a fingerprint's row is missing: taken for a free slot, a key in use would be overwritten.
    """
    found: dict[str, str | None] = {}
    for row in rows:
        if isinstance(row, Mapping):
            cells = {str(name).lower(): cell for name, cell in row.items()}
            name, value = cells.get("property"), cells.get("value")
        else:
            name, value = row[0], row[1]
        text = "" if value is None else str(value).strip()
        found[str(name).upper()] = None if text.lower() in ("", "null") else text  # it prints the word `null`
    missing = [f"{slot}_FP" for slot in Slot if f"{slot}_FP" not in found]
    if missing:
        what = f"shows no {' and no '.join(missing)}"
        raise KeyPairError([Problem("DESC USER", what, "Ask with a role that owns the user")], "the slots are unknown")
    return Slots(found[f"{Slot.FIRST}_FP"], found[f"{Slot.SECOND}_FP"])


# ---- The plan. ----


def plan_rotation(
    slots: Slots,
    current_fp: str | None,
    new_key: PrivateKey,
    *,
    user: str,
    variable: str = VARIABLES["b64"],
) -> list[Step]:
    """What is left to do until the new key alone is in use; empty when nothing is.

    Do the first step, read the slots, plan again: the plan never relies on what an earlier run remembers.

    Args:
        slots: what the user has now.
        current_fp: the fingerprint of the key in the environment; None to register a user's first key, or its next
            one after the current key was lost.
        new_key: the key to go to. Once the environment holds it, it is also the current one.
        user: the Snowflake user.
        variable: the variable in which the environment keeps the key.

    Raises:
        KeyPairError: both slots are taken and one by an unknown key, or the key in the environment is in neither.
    """
    new_slot, switched = slots.holding(new_key.fingerprint), current_fp == new_key.fingerprint
    target = new_slot or _slot_to_fill(slots, current_fp, new_key, user)
    old_fp = slots.fingerprint(target.other)

    steps = [] if new_slot else [_register(user, new_key, target)]
    if not (new_slot and switched):
        steps.append(_verify(user, new_key))
    if not switched:
        steps.append(_switch(new_key, variable))
    if old_fp and old_fp != new_key.fingerprint and (switched or old_fp == current_fp):
        steps.append(_unset(user, target.other, old_fp))
    return steps


def _slot_to_fill(slots: Slots, current_fp: str | None, new_key: PrivateKey, user: str) -> Slot:
    free = slots.free()
    problems = []
    if current_fp not in (None, new_key.fingerprint) and slots.holding(current_fp) is None:
        what = f"the key in the environment, {current_fp}, is in neither slot"
        remedy = "Check that account and user are the right ones; if the key was unset, plan without a current key"
        problems.append(Problem(user, what, remedy))
    if free is None:
        for slot in Slot:
            if (fingerprint := slots.fingerprint(slot)) != current_fp:
                what = f"both slots are taken, {slot} by a key that is not in the environment, {fingerprint}"
                remedy = f"Once nothing logs in with it any more: {unset_user_sql(user, slot)}"
                problems.append(Problem(user, what, remedy))
    if free is None or problems:
        raise KeyPairError(problems, "the key can't be rotated")
    return free


def _register(user: str, key: PrivateKey, slot: Slot) -> Step:
    return Step(
        "register",
        f"Put the new key into {slot}",
        alter_user_sql(user, key, slot),
        "owner",
        f"From then on {key.fingerprint} works beside the key in the other slot. It takes a role that owns the user.",
    )


def _verify(user: str, key: PrivateKey) -> Step:
    return Step(
        "verify",
        "Log in with the new key",
        "SELECT CURRENT_USER();",
        "new key",
        f"Only a login as {quoted_identifier(user)} proves that Snowflake took {key.fingerprint}. JWT token is invalid "
        "means that it did not, or that account or user are others.",
    )


def _switch(key: PrivateKey, variable: str) -> Step:
    return Step(
        "switch",
        f"Set {variable} to the new key",
        None,
        "operator",
        "Wherever the environment is kept, and deploy. Both keys work meanwhile: runs that go on are not disturbed. "
        f"Done when every service shows {key.fingerprint}.",
    )


def _unset(user: str, slot: Slot, old_fp: str) -> Step:
    return Step(
        "unset",
        f"Take the old key out of {slot}",
        unset_user_sql(user, slot),
        "owner",
        f"{old_fp} stops working: first let runs end that began with it, and ask who else may use it.",
    )
