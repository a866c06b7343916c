"""`apollo init`: what a fork says of itself, written down, and what a Docker host needs before its first start.

Answers become `apollo.toml`, with its comments kept, and every generated file follows. A Docker host also gets `.env`,
which holds its own secrets, and somebody who may log in. Asking a person is the command line's.
"""

from __future__ import annotations

import configparser
import io
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tomlkit
from dotenv import dotenv_values
from tomlkit.items import InlineTable

from dagster_apollo import fork
from dagster_apollo.access.identity import access_file, access_source
from dagster_apollo.access.identity.passwords import hash_password
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.fork import Fork, ForkError, Rule, parse_fork
from dagster_apollo.projections.reference import generated_files
from dagster_apollo.topology import CODE_TOKEN

ENV_FILE = ".env"
_ENV_HEAD = "# What the containers of this host are started with. Made by `apollo init`; keep it out of Git.\n"
_REGISTRIES = {"github.com": "ghcr.io", "gitlab.com": "registry.gitlab.com"}
_SSH_URL = re.compile(r"(?:[^@/\s]+@)?([^:/\s]+):(?!//)(.+)")


class NewForkError(ProblemsError):
    """Answers that cannot be written down."""

    heading = "the fork is left as it was"


@dataclass(frozen=True)
class Answers:
    """What a person said; None: it stays as it is.

    Attributes:
        fields: fields of `apollo.toml` by their name; an empty text takes an optional one out.
        plans: plans by service.
        domains: e-mail domains whose people may log in by OpenID Connect, as viewers.
        administrators: e-mail addresses that are administrators when they do.
    """

    fields: Mapping[str, str]
    plans: Mapping[str, str]
    domains: tuple[str, ...] = ()
    administrators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Login:
    """A person who was made, so that there is somebody.

    Attributes:
        name: to log in with.
        password: shown once and kept nowhere.
    """

    name: str
    password: str

    def __repr__(self) -> str:
        return f"Login(name={self.name!r})"


def edited(text: str, answers: Answers) -> str:
    """The text of `apollo.toml` with answers in it and everything else, comments too, as it was.

    Raises:
        ForkError: with every answer that is refused.
    """
    for name, value in answers.fields.items():
        if value:  # the place for it may be there, commented out
            text = re.sub(rf"(?m)^# ({re.escape(name)} = )", r"\1", text, count=1)
    document = tomlkit.parse(text)
    for name, value in answers.fields.items():
        if value:
            document[name] = value
        elif name in document:
            del document[name]
    for service, plan in answers.plans.items():
        _table(document, "plans")[service] = plan
    _allow(document, "domains", answers.domains, "viewer")
    _allow(document, "emails", answers.administrators, "administrator")
    parse_fork(document.unwrap())
    return tomlkit.dumps(document)


def write_fork(root: Path, answers: Answers) -> list[Path]:
    """Write `apollo.toml` and what derives from it.

    Returns:
        The files that are another now.

    Raises:
        ForkError: with every answer that is refused; then nothing is written.
    """
    file = root / fork.FILE
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    try:
        after = edited(before, answers)
    except tomlkit.exceptions.ParseError as error:
        raise ForkError([Problem(fork.FILE, f"is not TOML: {error}", "Mend that line.")]) from None
    changed = [] if after == before else [file]
    if changed:
        file.write_text(after, encoding="utf-8")
    for path, wanted in generated_files(root).items():
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            path.write_text(wanted, encoding="utf-8")
            changed.append(path)
    return changed


def prepare_docker_host(root: Path, access_path: Path, *, administrator: str | None) -> tuple[list[str], Login | None]:
    """Give a Docker host its secrets and somebody who may log in. What is there already stays.

    Only `APOLLO_ACCESS` follows its source: it is the access file's text, as one line.

    Args:
        root: the repository.
        access_path: the access file.
        administrator: who is made when the access file has nobody; None: nobody, for people come by OpenID Connect.

    Returns:
        The names of the variables that were written, and who was made.

    Raises:
        NewForkError: when `.env` cannot be read.
        AccessFileError: when the access file is not right.
    """
    login = None
    if administrator and not access_source.read(access_path).users:
        login = Login(administrator, secrets.token_urlsafe(15))
        entry = access_file.UserEntry(role="administrator", password_hash=hash_password(login.password))
        access_source.change(access_path, lambda content: content.with_user(administrator, entry))
    wanted = {
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "APOLLO_SESSION_SECRET": secrets.token_hex(32),
        CODE_TOKEN: secrets.token_hex(32),
    }
    content = access_source.read(access_path)
    derived = {"APOLLO_ACCESS": access_file.wrapped(content)} if content.users or content.tokens else {}
    return _complete(root / ENV_FILE, wanted, derived), login


def guess_image(root: Path) -> str | None:
    """The repository that the images of a clone would be pushed to, by Git's remote `origin`; None: it does not say."""
    reader = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        reader.read(root / ".git" / "config", encoding="utf-8")
        url = reader.get('remote "origin"', "url")
    except (configparser.Error, UnicodeDecodeError):
        return None
    if "://" in url:
        host, path = urlsplit(url).hostname or "", urlsplit(url).path
    elif scp := _SSH_URL.fullmatch(url):
        host, path = scp[1], scp[2]
    else:
        return None
    image = f"{_REGISTRIES.get(host, '')}/{path.strip('/').removesuffix('.git').lower()}"
    try:
        return parse_fork({"image": image}).image
    except ForkError:
        return None


def problem_of(field: str, value: str) -> str | None:
    """Why a field of `apollo.toml` cannot be that; None: it can. For somebody who is asked one after the other."""
    section, _, name = field.rpartition(".")
    try:
        parse_fork({section: {name: value}} if section else {name: value})
    except ForkError as error:
        return error.problems[0].what
    return None


def current(root: Path) -> Fork:
    """The fork as it is."""
    return fork.load_fork(root)


def _table(document: Any, name: str) -> Any:
    if name not in document:
        document[name] = tomlkit.table()
    return document[name]


def _allow(document: Any, kind: str, keys: tuple[str, ...], role: str) -> None:
    if not keys:
        return
    if "login" not in document:
        document["login"] = tomlkit.table(is_super_table=True)
    rules = _table(document["login"], kind)
    for key in keys:
        if key not in rules:
            rules[key] = _inline(Rule(role=role))  # type: ignore[arg-type]


def _inline(rule: Rule) -> InlineTable:
    table = tomlkit.inline_table()
    table.update(rule.model_dump(include={"role"}))
    return table


def _complete(file: Path, wanted: Mapping[str, str], derived: Mapping[str, str]) -> list[str]:
    """Add to a `.env` what is missing, and replace what derives from elsewhere; every other line stays as it is."""
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else _ENV_HEAD
    except (OSError, UnicodeDecodeError):
        raise NewForkError([Problem(str(file), "cannot be read as a text file", "Write it in UTF-8.")]) from None
    there = dotenv_values(stream=io.StringIO(before), interpolate=False)
    written = {name: value for name, value in wanted.items() if not (there.get(name) or "").strip()}
    written |= {name: value for name, value in derived.items() if there.get(name) != value}
    if not written:
        return []
    kept = [line for line in before.splitlines() if re.sub(r"^\s*(export\s+)?", "", line).split("=")[0] not in written]
    lines = [*kept, *(f"{name}={value}" for name, value in written.items())]
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.truncate()
        opened.write("\n".join(lines) + "\n")
    return sorted(written)
