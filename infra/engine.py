"""The `pulumi` command: where it is, where it keeps its state, how a stack is chosen, configured and asked.

Without a backend of the user's own the state is a folder beside the program, encrypted with a passphrase that is made
once. A secret reaches `pulumi` over its standard input, never as a word of a command. Which stack has what in it is
`up.py`'s.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dagster_apollo.errors import Problem, ProblemsError
from infra.configuration import PROJECT

PROGRAM = Path(__file__).resolve().parent
STATE, PASSPHRASE = ".state", "passphrase"
_OWN_PASSPHRASE = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


class EngineError(ProblemsError):
    """A `pulumi` command that is missing, or that could not do what it was asked."""

    heading = "the Docker host was not changed as asked"


@dataclass(frozen=True)
class Engine:
    """The `pulumi` command for one program and stack.

    Attributes:
        program: the folder with `Pulumi.yaml`.
        stack: the stack's name.
        command: the command's path.
        environ: what it is given.
        new_passphrase: the file of the passphrase, if it was made just now.
    """

    program: Path
    stack: str
    command: str
    environ: Mapping[str, str]
    new_passphrase: Path | None = None

    @classmethod
    def find(cls, environ: Mapping[str, str], stack: str, program: Path = PROGRAM) -> Engine:
        """Look for `pulumi`, and make what it needs to keep a state on this machine.

        Raises:
            EngineError: when it is not on the PATH.
        """
        command = shutil.which("pulumi", path=environ.get("PATH"))
        if command is None:
            remedy = (
                "Install it (https://www.pulumi.com/docs/install/), open a new shell and try again. "
                "With Docker alone: `docker compose up --detach --wait` brings up the same (docs/docker-host.md)."
            )
            raise EngineError([Problem("pulumi", "is not on the PATH", remedy)])
        given = {**environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
        made = None
        state = program / STATE
        if not environ.get("PULUMI_BACKEND_URL"):
            state.mkdir(mode=0o700, exist_ok=True)
            given["PULUMI_BACKEND_URL"] = state.as_uri()
        if not any(environ.get(name) for name in _OWN_PASSPHRASE):
            state.mkdir(mode=0o700, exist_ok=True)
            file = state / PASSPHRASE
            made = file if _write_once(file, secrets.token_urlsafe(32)) else None
            given["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(file)
        _bring_pip()
        engine = cls(program, stack, command, given, made)
        engine._ask("stack", "select", "--create")
        return engine

    def entry(self, key: str) -> str | None:
        """The text of an entry of the stack's configuration, decrypted; None: it is not set."""
        entries = json.loads(self._ask("config", "--show-secrets", "--json"))
        text: str | None = entries.get(f"{PROJECT}:{key}", {}).get("value")
        return text

    def set(self, key: str, text: str) -> None:
        """Set an entry that is no secret."""
        self._ask("config", "set", f"{PROJECT}:{key}", text)

    def unset(self, key: str) -> None:
        """Remove an entry, if it is there."""
        if self.entry(key) is not None:
            self._ask("config", "rm", f"{PROJECT}:{key}")

    def set_secret(self, key: str, text: str) -> None:
        """Set an entry that is encrypted; nothing happens when it holds that already, as a new ciphertext would."""
        if self.entry(key) != text:
            self._ask("config", "set", "--secret", f"{PROJECT}:{key}", text_in=text)

    def output(self, name: str) -> str:
        """An output of the stack that is no secret."""
        return self._ask("stack", "output", name).strip()

    def run(self, *words: str) -> int:
        """A command whose progress a person watches; its exit code."""
        ended = subprocess.run(self._words(*words), cwd=self.program, env=dict(self.environ), check=False)
        return ended.returncode

    def _ask(self, *words: str, text_in: str = "") -> str:
        ended = subprocess.run(
            self._words(*words),
            cwd=self.program,
            env=dict(self.environ),
            input=text_in,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            what = f"`pulumi {' '.join(words[:2])}` ended with {ended.returncode}: {ended.stderr.strip()[-2000:]}"
            raise EngineError([Problem(f"stack {self.stack}", what, _remedy(ended.stderr))])
        return ended.stdout

    def _words(self, *words: str) -> list[str]:
        return [self.command, *words, "--stack", self.stack, "--non-interactive"]


def _remedy(told: str) -> str:
    if "passphrase" in told:
        return f"The passphrase of this state is in {STATE}/{PASSPHRASE}, or in PULUMI_CONFIG_PASSPHRASE(_FILE)."
    if "currently locked" in told:
        return "Another `pulumi` is at work; if none is, `pulumi cancel --yes` in infra/ takes the lock away."
    return "Mend what it names and try again."


def _write_once(file: Path, text: str) -> bool:
    """Write a file that only its owner reads, unless it is there; whether it was written."""
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(number, "w") as opened:
        opened.write(text)
    return True


def _bring_pip() -> None:
    # Pulumi's Python host asks `python -m pip list` which providers a program uses; uv makes environments without pip.
    if importlib.util.find_spec("pip") is None:
        subprocess.run([sys.executable, "-m", "ensurepip", "--default-pip"], check=True, capture_output=True)
