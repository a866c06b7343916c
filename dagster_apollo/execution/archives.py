"""The tar files in which things go into a container and come out of it; pure but for the files that it writes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, cast

from dagster_apollo.execution.container import INSIDE

# A command of any user is to read and write them; a container has one tenant alone.
_FILE_MODE, _FOLDER_MODE = 0o666, 0o777


def pack(files: Mapping[str, bytes], folders: Iterable[str] = (), links: Mapping[str, str] | None = None) -> bytes:
    """A tar file for the root folder of a container.

    Args:
        files: contents by absolute path.
        folders: absolute paths of folders that anybody inside may write; so are all of ours that files stand in.
        links: targets by absolute path.
    """
    wanted = {PurePosixPath(folder) for folder in folders}
    for path in [*wanted, *map(PurePosixPath, files)]:
        wanted |= {parent for parent in path.parents if parent.is_relative_to(INSIDE)}  # others keep their modes
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for folder in sorted(wanted):
            entry = tarfile.TarInfo(str(folder.relative_to("/")))
            entry.type, entry.mode = tarfile.DIRTYPE, _FOLDER_MODE
            tar.addfile(entry)
        for file, content in sorted(files.items()):
            entry = tarfile.TarInfo(str(PurePosixPath(file).relative_to("/")))
            entry.size, entry.mode = len(content), _FILE_MODE
            tar.addfile(entry, io.BytesIO(content))
        for link, target in (links or {}).items():
            entry = tarfile.TarInfo(str(PurePosixPath(link).relative_to("/")))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return archive.getvalue()


def unpack(chunks: Iterable[bytes], to: Path) -> None:
    """Write what the engine gave: of a folder its content, of a file the file, under the name `to`.

    Links are left out, and what would leave `to` is refused: the content is the container's own.
    """
    with tarfile.open(fileobj=cast(IO[bytes], _Reader(iter(chunks))), mode="r|") as tar:
        for entry in tar:
            # The first part is the name of what was asked for.
            below = PurePosixPath(*PurePosixPath(entry.name).parts[1:])
            target = to / below
            if ".." in below.parts or below.is_absolute():
                continue
            if entry.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif entry.isfile() and (content := tar.extractfile(entry)):
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    while part := content.read(1 << 20):
                        file.write(part)


class _Reader:
    """Chunks as a file that `tarfile` reads as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, None)) is not None:
            self._rest += chunk
        content, self._rest = self._rest[:size], self._rest[size:]
        return content
