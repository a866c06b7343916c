"""Which files of a tenant an image was built from: a digest, as a label of the image and as it is now.

What the image has no use for does not count, so that a word in a README asks for no new image. `make images` writes the
label; a run compares.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

# The label of an image that says the digest of what it was built from.
FILES_LABEL = "dagster-apollo.files"
# What dbt, Python and `dbt deps` write beside the files of a project.
_MADE = {"target", "logs", "dbt_packages", "dbt_modules", "dbt_internal_packages", "__pycache__"}
_ABOUT = {"README.md", "graph.svg", "tenant.yaml"}


def digest_of_files(folder: Path) -> str:
    """The digest of a tenant's folder: names and contents of all that an image may be built from.

    Args:
        folder: the tenant's, with the Dockerfile in it.
    """
    digest = hashlib.sha256()
    for file in sorted(_files(folder)):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for directory, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _MADE and not name.startswith(".")]
        here = Path(directory)
        for name in names:
            if not name.startswith(".") and not (here == folder and name in _ABOUT) and (here / name).is_file():
                yield here / name
