"""Where the access file's text comes from: a variable, or a file that may change while a webserver runs.

Reading never fails a request: of a file that turns wrong, the last good content holds and the log says why. Changes are
made here too, one at a time. What the text says is `access_file.py`.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path

from dagster_apollo.access.identity.access_file import AccessFile, parse, render
from dagster_apollo.errors import AccessFileError, Problem

_LOGGER = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]


class AccessSource:
    """The access file as it is now."""

    def __init__(self, content: AccessFile, file: Path | None = None, stamp: _Stamp | None = None) -> None:
        self._content = content
        self._file = file
        self._stamp = stamp

    @classmethod
    def of_text(cls, text: str, where: str) -> AccessSource:
        """From a variable.

        Raises:
            AccessFileError: when it is not right.
        """
        return cls(parse(text, where))

    @classmethod
    def of_file(cls, file: Path) -> AccessSource:
        """From a file; one that is not there yet has nobody in it.

        Raises:
            AccessFileError: when it is not right.
        """
        stamp = _stamp(file)
        return cls(_read(file) if stamp else AccessFile(), file, stamp)

    def current(self) -> AccessFile:
        """What holds now. The file is looked at each time (some microseconds), and read when it is another."""
        if self._file is None:
            return self._content
        stamp = _stamp(self._file)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                if stamp is None:
                    raise AccessFileError(
                        [Problem(str(self._file), "is gone", "Put it back; an empty one has nobody.")]
                    )
                self._content = _read(self._file)
                _LOGGER.info("read %s again: %d users", self._file, len(self._content.users))
            except AccessFileError as error:
                _LOGGER.error("%s; what was read before holds", error)
        return self._content


def change(file: Path, by: Callable[[AccessFile], AccessFile]) -> AccessFile:
    """Change an access file, alone among those who do; a new one is readable by its owner only.

    The file is written in place: where it is mounted by itself into a container, a file that takes its name would not
    be seen there. A webserver that reads it half written keeps what it has and reads it again a moment later.

    Raises:
        AccessFileError: when what is there, or what it becomes, is not right.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        text = opened.read()
        try:
            after = by(parse(text, str(file)))
        except Exception:
            if not text:  # what is refused leaves no new file behind
                file.unlink()
            raise
        opened.seek(0)
        opened.write(render(after))
        opened.truncate()
        opened.flush()
        os.fsync(opened.fileno())
    return after


def read(file: Path) -> AccessFile:
    """What an access file holds; nobody, when it is not there.

    Raises:
        AccessFileError: when it is not right.
    """
    return _read(file) if file.exists() else AccessFile()


def _read(file: Path) -> AccessFile:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "Let the webserver's user read it."
        raise AccessFileError([Problem(str(file), f"cannot be read: {error.strerror}", remedy)]) from None
    except UnicodeDecodeError:
        raise AccessFileError([Problem(str(file), "is not text in UTF-8", "Write it by `apollo users`.")]) from None
    return parse(text, str(file))


def _stamp(file: Path) -> _Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
