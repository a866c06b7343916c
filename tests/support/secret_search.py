"""Looks through what a deployment leaves behind, whole disks and databases, for planted secrets in every form.

Beside the secrets it looks for a marker, which is none and is in every place: a search that does not come upon it has
not read what it was meant to read. Which secrets, and where they are planted, is `planted_secrets.py`.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import tarfile
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.support.canary import forms_of

# Shorter pieces, as the last line of a key may be, are found anywhere by chance.
_SHORTEST = 16
_BLOCK_BYTES = 1 << 20
_GZIP, _ZLIB = b"\x1f\x8b", b"\x78"
# How Postgres writes bytes into a dump: what runs print, and Dagster's snapshots, which are compressed.
_DUMPED_BYTES = re.compile(rb"\\\\x([0-9a-f]+)")
_EVERY_SECONDS = 0.1


@dataclass(frozen=True)
class Found:
    """What a search came upon.

    Attributes:
        marker: whether the marker was there.
        secrets: by name, the forms of them that were.
    """

    marker: bool
    secrets: Mapping[str, tuple[str, ...]]

    def nothing_but_the_marker(self) -> Found:
        """Itself, where the search reached the place and no secret was there."""
        assert self.marker, "the search did not reach what it was to look through: the marker is not there"
        assert not self.secrets, self.secrets
        return self


@dataclass(frozen=True)
class SecretSearch:
    """Searches for all secrets at once.

    Attributes:
        secrets: texts, by what they are called in a report.
        marker: what is looked for beside them.
        folder: where what is looked for is written down: no process is told it as an argument.
    """

    secrets: Mapping[str, str] = field(repr=False)
    marker: str
    folder: Path
    _names: dict[bytes, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, secret in self.secrets.items():
            for form in forms_of(secret):
                if "\n" not in form and len(form) >= _SHORTEST:
                    self._names[form.encode()] = name
        missing = set(self.secrets) - set(self._names.values())
        assert not missing, f"too short to be looked for: {missing}"
        self._patterns.write_bytes(b"\n".join((*self._names, self.marker.encode())) + b"\n")

    def text(self, *texts: str) -> Found:
        """Of texts."""
        return self.content(text.encode(errors="surrogateescape") for text in texts)

    def content(self, blocks: Iterable[bytes]) -> Found:
        """Of bytes, however they are cut into blocks."""
        with (self.folder / "hits").open("w+b") as hits:
            # Thousands of texts in gigabytes: what `grep` is made for.
            grep = subprocess.Popen(
                ["grep", "-a", "-o", "-F", "-f", str(self._patterns)],
                stdin=subprocess.PIPE,
                stdout=hits,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            )
            assert grep.stdin is not None
            with grep.stdin as pipe:
                for block in blocks:
                    pipe.write(block)
            assert grep.wait() in (0, 1), "grep itself failed"
            hits.seek(0)
            lines = {line.rstrip(b"\n") for line in hits}
        secrets: dict[str, tuple[str, ...]] = {}
        for line in sorted(lines & set(self._names)):
            secrets[self._names[line]] = (*secrets.get(self._names[line], ()), line.decode())
        return Found(self.marker.encode() in lines, secrets)

    def archive(self, stream: IO[bytes]) -> Found:
        """Of a tar archive, of which some files may be compressed: names, and what is in every file."""
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            return self.content(_files(opened))

    def dump(self, content: bytes) -> Found:
        """Of what `pg_dump` prints: as it is, and the bytes that it writes in digits."""
        return self.content(_dumped(content))

    @property
    def _patterns(self) -> Path:
        return self.folder / "looked-for"


def _files(archive: tarfile.TarFile) -> Iterator[bytes]:
    for member in archive:
        yield f"\n{member.name} {member.linkname}\n".encode(errors="surrogateescape")
        content = archive.extractfile(member) if member.isfile() else None
        if content is None:
            continue
        first = content.read(_BLOCK_BYTES)
        if first.startswith(_GZIP):
            unpacked = zlib.decompressobj(wbits=31)
            yield unpacked.decompress(first)
            while block := content.read(_BLOCK_BYTES):
                yield unpacked.decompress(block)
            yield unpacked.flush()
            continue
        yield first
        while block := content.read(_BLOCK_BYTES):
            yield block


def _dumped(content: bytes) -> Iterator[bytes]:
    yield content
    for digits in _DUMPED_BYTES.findall(content):
        if len(digits) % 2 == 0:
            plain = bytes.fromhex(digits.decode())
            yield b"\n" + plain
            if plain.startswith(_ZLIB):
                yield b"\n" + zlib.decompress(plain)
            elif plain.startswith(_GZIP):
                yield b"\n" + gzip.decompress(plain)


class ArgumentsSeen:
    """The arguments of every process of this machine, containers' too, that lived while it looked."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> ArgumentsSeen:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._enough.wait(_EVERY_SECONDS):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(file.read_bytes().replace(b"\0", b" ") + b"\n")
                except OSError:  # it has ended meanwhile
                    continue
