"""The access file: people with the hashes of their passwords, programs with the hashes of their tokens, in YAML.

What it says and how its text is read and written. Where the text comes from, and that it may change while a webserver
runs, is `access_source.py`; who comes in by an identity provider stands in `apollo.toml`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dagster_apollo.access.identity.passwords import is_hash
from dagster_apollo.errors import AccessFileError, Problem
from dagster_apollo.fork import Rule

NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,127}")
# What a scanner for leaked secrets can know a token of ours by.
TOKEN_PREFIX = "apollo_"  # noqa: S105
_HEAD = """\
# Who may use this Dagster: people with the hash of their password, programs with the hash of their token.
# Written by `apollo users` and `apollo tokens`; keep it out of Git.
"""


class UserEntry(Rule):
    """A person.

    Attributes:
        password_hash: argon2id, of `passwords.hash_password`.
    """

    password_hash: str = Field(repr=False)

    @model_validator(mode="after")
    def _hashed(self) -> UserEntry:
        if not is_hash(self.password_hash):
            raise ValueError("`password_hash` is not an argon2id hash")
        return self


class TokenEntry(Rule):
    """A program.

    Attributes:
        sha256: of the token's text, in hexadecimal: a token is too long to be guessed, so a fast hash will do.
        expires: when it ends.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    expires: AwareDatetime

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended."""
        return now >= self.expires


class AccessFile(BaseModel):
    """Everybody.

    Attributes:
        users: people, by the name they log in with.
        tokens: programs, by the name they are audited under; no name is used twice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    users: dict[str, UserEntry] = Field(default_factory=dict)
    tokens: dict[str, TokenEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names(self) -> AccessFile:
        wrong = [name for name in (*self.users, *self.tokens) if not NAME.fullmatch(name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not a name: lower-case letters, digits and . _ @ + -")
        if twice := sorted(set(self.users) & set(self.tokens)):
            raise ValueError(f"{twice[0]!r} is both a user and a token: the audit could not tell them apart")
        return self

    def with_user(self, name: str, entry: UserEntry) -> AccessFile:
        """This, and one more person, or another entry for one."""
        return AccessFile(users={**self.users, name: entry}, tokens=self.tokens)

    def with_token(self, name: str, entry: TokenEntry) -> AccessFile:
        """This, and one more program."""
        return AccessFile(users=self.users, tokens={**self.tokens, name: entry})

    def without(self, name: str) -> AccessFile:
        """This, without whoever has that name."""
        return AccessFile(
            users={key: entry for key, entry in self.users.items() if key != name},
            tokens={key: entry for key, entry in self.tokens.items() if key != name},
        )

    def token_named(self, text: str) -> tuple[str, TokenEntry] | None:
        """The entry of a token, also of one that has ended; None: there is none."""
        digest = digest_of(text)
        return next(((name, entry) for name, entry in self.tokens.items() if entry.sha256 == digest), None)


def new_token() -> str:
    """A token's text: 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """What the access file keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def parse(text: str, where: str) -> AccessFile:
    """Read an access file's text, or the base64 of it, which survives where line ends and `$` do not.

    Args:
        where: what to name in a message: the file, or the variable.

    Raises:
        AccessFileError: with everything that is wrong; no message holds a hash.
    """
    try:
        content = yaml.load(_unwrapped(text), _StrictLoader)  # noqa: S506  it is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = str(error) if isinstance(error, _TwiceError) else "is not YAML"
        raise AccessFileError([Problem(f"{where}{line}", what, "Correct it, or write it by `apollo users`.")]) from None
    if content is None:
        return AccessFile()
    if not isinstance(content, dict):
        remedy = "Write it by `apollo users add`, or give its base64, as `apollo users export` prints it."
        raise AccessFileError([Problem(where, "is neither the text of an access file nor the base64 of one", remedy)])
    try:
        return AccessFile.model_validate(content)
    except ValidationError as error:
        raise AccessFileError([_problem(where, entry["loc"], entry["msg"]) for entry in error.errors()]) from None


def render(file: AccessFile) -> str:
    """The file's text."""
    content: dict[str, Any] = {
        kind: {name: _plain(entry) for name, entry in entries.items()}
        for kind, entries in (("users", file.users), ("tokens", file.tokens))
        if entries
    }
    return _HEAD + (yaml.safe_dump(content, sort_keys=False, width=1000) if content else "")


def wrapped(file: AccessFile) -> str:
    """The file as one line of base64, for a variable: a hash holds `$`, which compose files and shells replace."""
    return base64.b64encode(render(file).encode()).decode()


def utc_now() -> datetime:
    """Now."""
    return datetime.now(UTC)


class _TwiceError(yaml.MarkedYAMLError):
    def __str__(self) -> str:
        return "a key stands there for the second time"


class _StrictLoader(yaml.SafeLoader):
    """PyYAML takes the last of two equal keys without a word; of two entries for one name neither is to be guessed."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for index, (key, _) in enumerate(node.value):
            if key.value in keys[:index]:
                raise _TwiceError(problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def _unwrapped(text: str) -> str:
    bare = "".join(text.split())
    if not re.fullmatch(r"[A-Za-z0-9+/]{16,}={0,2}", bare):
        return text
    try:
        return base64.b64decode(bare, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text


def _plain(entry: Rule) -> dict[str, Any]:
    content = entry.model_dump(mode="json", exclude_defaults=True)
    return {"role": entry.role, **content}


def _problem(where: str, place: tuple[int | str, ...], message: str) -> Problem:
    path = ".".join(str(part) for part in place)
    return Problem(f"{where}: {path}" if path else where, message.removeprefix("Value error, "), "Correct it.")
