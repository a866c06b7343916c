"""Users with two public keys each, roles, warehouses and grants of one account, kept in one JSON file.

Nothing here knows of SQL or HTTP; how a login is checked stands in `login`. Grants are kept and shown, never enforced.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from local_snowflake.errors import SqlError, already_exists, missing

SYSTEM_ROLES = ("ACCOUNTADMIN", "SECURITYADMIN", "SYSADMIN", "USERADMIN", "PUBLIC")
KEY_SLOTS = ("RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2")


@dataclass
class PublicKey:
    """One key slot: the DER of the public key in base64, and its SHA-256 fingerprint as Snowflake shows it."""

    der: str
    fingerprint: str

    @classmethod
    def from_text(cls, text: str) -> PublicKey:
        """Read a PEM file's text, or the bare base64 that ALTER USER takes.

        Raises:
            SqlError: it is not an RSA public key (2401, as ALTER USER answers).
        """
        body = re.sub(r"-----[A-Z ]+-----|\s", "", text)
        try:
            der = base64.b64decode(body, validate=True)
            usable = isinstance(load_der_public_key(der), RSAPublicKey)
        except Exception:  # the loader raises many kinds; for the client all are one
            usable = False
        if not usable:
            raise SqlError(
                2401,
                "22023",
                "SQL compilation error:\nNew public key rejected by current policy. Reason: 'Invalid public key'",
            )
        digest = base64.b64encode(hashlib.sha256(der).digest()).decode()
        return cls(base64.b64encode(der).decode(), f"SHA256:{digest}")


@dataclass
class User:
    """One user: keys by slot, granted roles, and the other properties that ALTER USER sets."""

    keys: dict[str, PublicKey] = field(default_factory=dict)
    roles: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.time)

    @property
    def disabled(self) -> bool:
        return str(self.properties.get("DISABLED", "false")).lower() == "true"


@dataclass
class Grant:
    """A privilege on an object for a role; the object is named in full."""

    privilege: str
    kind: str
    object: str
    role: str
    granted_by: str

    def same_as(self, other: Grant) -> bool:
        """Whether it is the same grant, whoever granted it."""
        mine, theirs = asdict(self), asdict(other)
        return {**mine, "granted_by": ""} == {**theirs, "granted_by": ""}


class Account:
    """All of one account. Every change is written to its file at once."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name.upper()
        self.path = path
        self.lock = threading.RLock()
        self.users: dict[str, User] = {}
        self.roles: dict[str, list[str]] = {role: [] for role in SYSTEM_ROLES}
        """Each role with the roles that are granted to it."""
        self.warehouses: dict[str, dict[str, str]] = {}
        self.grants: list[Grant] = []
        if path.exists():
            self._load(json.loads(path.read_text()))

    def _load(self, stored: dict[str, Any]) -> None:
        for name, user in stored["users"].items():
            keys = {slot: PublicKey(**key) for slot, key in user.pop("keys").items()}
            self.users[name] = User(keys=keys, **user)
        self.roles, self.warehouses = stored["roles"], stored["warehouses"]
        self.grants = [Grant(**grant) for grant in stored["grants"]]

    def save(self) -> None:
        """Write the file whole under another name, then put it in place: a crash leaves the old one."""
        with self.lock:
            stored = {
                "users": {name: asdict(user) for name, user in self.users.items()},
                "roles": self.roles,
                "warehouses": self.warehouses,
                "grants": [asdict(grant) for grant in self.grants],
            }
            beside = self.path.with_suffix(".tmp")
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(stored, file, indent=1)
            beside.replace(self.path)

    def user(self, name: str) -> User:
        """The user of that name, or Snowflake's error."""
        if user := self.users.get(name.upper()):
            return user
        raise missing("User", name.upper())

    def create_user(self, name: str, properties: dict[str, str | None], replace: bool, if_not_exists: bool) -> None:
        with self.lock:
            name = name.upper()
            if name in self.users and not replace:
                if if_not_exists:
                    return
                raise already_exists(name)
            user = User()
            self._set_properties(user, properties)  # a bad key leaves no half-made user behind
            self.users[name] = user
            self.save()

    def alter_user(self, name: str, properties: dict[str, str | None]) -> None:
        """Set properties and key slots; None unsets."""
        with self.lock:
            self._set_properties(self.user(name), properties)
            self.save()

    @staticmethod
    def _set_properties(user: User, properties: dict[str, str | None]) -> None:
        new_keys = {
            name.upper(): None if text is None else PublicKey.from_text(text)
            for name, text in properties.items()
            if name.upper() in KEY_SLOTS
        }
        for slot, key in new_keys.items():  # after all of them were read: a bad key changes nothing
            if key is None:
                user.keys.pop(slot, None)
            else:
                user.keys[slot] = key
        for name, value in properties.items():
            if name.upper() in KEY_SLOTS:
                continue
            if value is None:
                user.properties.pop(name.upper(), None)
            else:
                user.properties[name.upper()] = value

    def create_role(self, name: str) -> None:
        with self.lock:
            self.roles.setdefault(name.upper(), [])
            self.save()

    def create_warehouse(self, name: str, properties: dict[str, str] | None = None) -> None:
        with self.lock:
            self.warehouses.setdefault(name.upper(), dict(properties or {}))
            self.save()

    def require_role(self, name: str) -> None:
        if name not in self.roles:
            raise missing("Role", name)

    def change_role_grant(self, role: str, *, user: str | None = None, to_role: str | None = None, grant: bool) -> None:
        """Grant a role to a user or to another role, or revoke it."""
        with self.lock:
            role = role.upper()
            self.require_role(role)
            if user is not None:
                held = self.user(user).roles
            else:
                parent = (to_role or "").upper()
                self.require_role(parent)
                held = self.roles[parent]
            if grant and role not in held:
                held.append(role)
            elif not grant and role in held:
                held.remove(role)
            self.save()

    def roles_of(self, user: str) -> set[str]:
        """The roles a user may take: PUBLIC, the granted ones, and what is granted to those."""
        found, waiting = {"PUBLIC"}, list(self.user(user).roles)
        while waiting:
            role = waiting.pop()
            if role not in found:
                found.add(role)
                waiting += self.roles.get(role, [])
        return found

    def change_grants(self, grants: list[Grant], granted: bool) -> None:
        with self.lock:
            kept = [old for old in self.grants if not any(old.same_as(new) for new in grants)]
            self.grants = kept + (grants if granted else [])
            self.save()

    def forget_grants_on(self, name: str) -> None:
        """An object was dropped or replaced: its grants go with it."""
        with self.lock:
            if any(grant.object == name for grant in self.grants):
                self.grants = [grant for grant in self.grants if grant.object != name]
                self.save()

    def move_grants(self, old: str, new: str) -> None:
        """An object was renamed: its grants follow it."""
        with self.lock:
            moved = [grant for grant in self.grants if grant.object == old]
            for grant in moved:
                grant.object = new
            if moved:
                self.save()
