"""What only root may do, for tests of walls between users: by this process where it is root, else by `sudo`.

A machine of GitHub's has the second. What the code host may do in its container is `like_the_code_host`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support.parts import MissingPart
from tests.support.stack import REPOSITORY

_SUDO = ("sudo", "--non-interactive")


@dataclass(frozen=True)
class Root:
    """Somebody who is root, or may become it.

    Attributes:
        prefix: what a command is started with to be root's; nothing where this process is.
    """

    prefix: tuple[str, ...]

    @classmethod
    def here(cls) -> Root:
        """Of this machine.

        Raises:
            MissingPart: when this user is not root and `sudo` asks for a password.
        """
        if os.geteuid() == 0:
            return cls(())
        try:
            allowed = subprocess.run([*_SUDO, "true"], capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            allowed = False
        if not allowed:
            raise MissingPart("neither root nor sudo without a password: walls need a process that may become another")
        return cls((*_SUDO, "--preserve-env"))

    def run(self, *words: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as root or as another user without any right, from the root folder."""
        command = [*self.prefix, *words] if user is None else self.as_user(user, *words)
        return subprocess.run(
            command, cwd="/", capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]}
        )

    def as_user(self, user: int, *words: str) -> list[str]:
        """The words that start a command as a user without any right."""
        return [*self.prefix, "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *words]

    def do(self, *words: str) -> str:
        """The same, for what has to succeed; what it printed."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def like_the_code_host(self) -> list[str]:
        """What a command is started with to be root with SETUID, SETGID and nothing else.

        Any user may then run this Python and read this repository, also where they lie in a home that is closed to
        others: a mount namespace of its own has these alone below it, open.
        """
        needed = [Path(sys.executable).resolve().parents[1], Path(sys.prefix), REPOSITORY]
        script = _opened(needed)
        narrow = ["setpriv", "--bounding-set=-all,+setgid,+setuid", "--no-new-privs"]
        if not script:
            return [*self.prefix, *narrow]
        unshare = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-e", "-c", f'{script}exec "$@"', "sh"]
        return [*self.prefix, *unshare, *narrow]


def _opened(folders: Iterable[Path]) -> str:
    """Shell commands that lay an open file system over each closed folder, with what is needed of it and no more."""
    below: dict[Path, list[Path]] = {}
    for folder in folders:
        closed = [parent for parent in reversed(folder.parents) if not parent.stat().st_mode & 0o001]
        if closed:
            below.setdefault(closed[0], []).append(folder)
    script = ""
    for closed_folder, found in below.items():
        # What lies in another that is needed comes with it.
        tops = [folder for folder in found if not any(other in folder.parents for other in found)]
        kept = [(folder, f"/tmp/apollo-opened-$$-{number}") for number, folder in enumerate(dict.fromkeys(tops))]
        script += "".join(f"mkdir -p {place}; mount --bind '{folder}' {place}; " for folder, place in kept)
        script += f"mount -t tmpfs -o mode=755 none '{closed_folder}'; "
        script += "".join(
            f"mkdir -p '{folder}'; mount --move {place} '{folder}'; rmdir {place}; " for folder, place in kept
        )
    return script
