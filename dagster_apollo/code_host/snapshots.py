"""What the front answers of a tenant without the tenant: replies as they go over the wire, in one file a location.

A file is a ZIP without compression, an entry a reply, so that a reader takes one and leaves the rest. It is known by
what it was made of (`snapshot_key`); a location is known to webserver and daemon by what is in it. Who makes one, with
Dagster, is `snapshot_writer.py`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from dagster_apollo.settings import BY_NAME, LOOKS_SECRET

LIST_REPOSITORIES, CURRENT_IMAGE = "ListRepositories", "GetCurrentImage"
# Far above any project's; a tenant's file must not fill the memory of who reads it for all.
LARGEST_REPLY_BYTES = 256 << 20
_PART_BYTES = 1 << 20
# What differs from start to start and means nothing to a tenant's definitions.
_PASSING = frozenset(
    {
        *("APOLLO_BAKED_DIR", "APOLLO_BIND", "APOLLO_BROKER", "APOLLO_DRAIN_SECONDS", "APOLLO_IDLE_SECONDS"),
        *("APOLLO_IMAGE", "APOLLO_RELEASE", "APOLLO_STATE_DIR", "APOLLO_WAIT_SECONDS", "DAGSTER_HOME"),
        *("DAGSTER_PG_URI", "HOME", "HOSTNAME", "LANG", "LOGNAME", "OLDPWD", "PATH", "PORT", "PWD", "PYTHONPATH"),
        *("SHELL", "SHLVL", "TERM", "TMPDIR", "USER", "_"),
    }
)
_OF_PLATFORMS = ("RENDER_", "KUBERNETES_", "DOCKER_", "XDG_", "SSH_", "LC_")
_SKIPPED = frozenset({"target", "logs", "dbt_packages", "dbt_modules", "dbt_internal_packages", "__pycache__"})


def repository_entry(repository: str) -> str:
    """The entry with a repository's data; jobs in it are named alone, as webserver and daemon ask for it."""
    return f"ExternalRepository/{repository}"


def job_entry(repository: str, job: str) -> str:
    """The entry with a job's data."""
    return f"ExternalJob/{repository}/{job}"


def content_key(folder: Path, manifest: bytes, versions: str) -> str:
    """What a tenant's definitions are made of, but for its environment.

    Args:
        folder: the tenant's.
        manifest: the slim one, with the connection that it was made for.
        versions: of everything that is installed.
    """
    digest = hashlib.sha256(versions.encode())
    digest.update(hashlib.sha256(manifest).digest())
    for file in project_files(folder):
        digest.update(str(file.relative_to(folder)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]


def snapshot_key(content: str, environ: Mapping[str, str], refused: Iterable[str]) -> str:
    """The name of a snapshot: its content's, with what of the environment definitions may depend on.

    Secrets are in it by name alone: that one is missing shows in the definitions, what it is does not.
    """
    digest = hashlib.sha256(content.encode())
    for name in sorted(environ):
        if name in _PASSING or name.startswith(_OF_PLATFORMS):
            continue
        plain = name.rpartition("__")[2]
        secret = BY_NAME[plain].secret if plain in BY_NAME else bool(LOOKS_SECRET.search(name.upper()))
        digest.update(f"{name}={'set' if secret else environ[name]}\0".encode())
    for problem in refused:
        digest.update(problem.encode() + b"\0")
    return digest.hexdigest()[:32]


def installed_digest() -> str:
    """What tells one set of installed packages, and one version of this one, from another."""
    digest = hashlib.sha256()
    for entry in sorted(f"{found.name}=={found.version}" for found in importlib.metadata.distributions()):
        digest.update(entry.encode() + b"\0")
    package = Path(__file__).parents[1]
    for file in sorted(package.rglob("*.py")):
        digest.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def baked_file(baked_dir: Path, location: str, content: str) -> Path:
    """Where the image keeps a location's snapshot, beside the manifests."""
    return baked_dir.with_name(f"{baked_dir.name}-snapshots") / f"{location}-{content}.zip"


def write_entries(file: int, replies: Mapping[str, bytes]) -> None:
    """Write replies into an open file."""
    with os.fdopen(os.dup(file), "wb") as out, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(replies):
            # A fixed time, so that the same replies are the same file.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), replies[name])


def read_entry(file: Path, name: str) -> bytes | None:
    """One reply; None where the snapshot has none such.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no snapshot, or the reply is too large.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            info = archive.getinfo(name)
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > LARGEST_REPLY_BYTES:
                raise ValueError(f"{file.name} holds what no snapshot does")
            return archive.read(info)
    except KeyError:
        return None
    except zipfile.BadZipFile:
        raise ValueError(f"{file.name} is no snapshot") from None


def file_digest(file: Path) -> str:
    """What tells one snapshot from another.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is larger than any snapshot; no more than that of it is read.
    """
    digest, left = hashlib.sha256(), LARGEST_REPLY_BYTES
    with file.open("rb") as content:
        while part := content.read(_PART_BYTES):
            digest.update(part)
            if (left := left - len(part)) < 0:
                raise ValueError(f"{file.name} has more than {LARGEST_REPLY_BYTES} bytes")
    return digest.hexdigest()[:24]


def load_error(message: str) -> bytes:
    """A reply to ListRepositories that is a load error, for a tenant whose process could not even make it."""
    # dagster_shared.utils.error.SerializableErrorInfo, as serdes writes it.
    error: dict[str, object] = {
        "__class__": "SerializableErrorInfo",
        "message": f"{message}\n",
        "stack": [],
        "cls_name": "TenantLoadError",
        "cause": None,
        "context": None,
    }
    return json.dumps(error).encode()


def project_files(folder: Path) -> Iterable[Path]:
    """The files of a tenant's folder that its definitions may be made of."""
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        found = (Path(directory) / name for name in sorted(files) if not name.startswith("."))
        yield from (file for file in found if file.is_file() and file.suffix != ".pyc")
