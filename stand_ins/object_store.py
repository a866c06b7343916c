"""A real S3 server on this machine, where its program is found: versitygw, which checks every signature.

Where it is not found (`make test-parts` builds it), or the file system keeps no extended attributes, `amazon.py` stands
in. What the server is started with and how an account is added to it stand here; nothing is started.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from dagster_apollo.errors import HostError, Problem

REGION = "us-east-1"
_ATTRIBUTE = "user.apollo_probe"


@dataclass(frozen=True)
class Keys:
    """A key id and its secret."""

    key_id: str
    secret: str = field(repr=False)


def find_server(environ: Mapping[str, str]) -> str | None:
    """The program: the one that `make test-parts` built, else the one on the PATH."""
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/")) / ".cache")
    built = cache / "dagster_apollo" / "tools"
    return shutil.which("versitygw", path=str(built)) or shutil.which("versitygw", path=environ.get("PATH", ""))


def can_keep_objects(folder: Path) -> bool:
    """Whether files below the folder can have the attributes in which the server keeps what it knows of an object."""
    try:
        os.setxattr(folder, _ATTRIBUTE, b"1")
        os.removexattr(folder, _ATTRIBUTE)
    except (OSError, AttributeError):  # macOS has no such function
        return False
    return True


def command(program: str, folder: Path, host: str, port: int) -> Sequence[str]:
    """What starts the server, with accounts and objects below the folder, which exists and is absolute.

    Not with `--sidecar`: a reader then sees the data of one write with the metadata of another.
    """
    for name in ("data", "versions", "accounts"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    words = [program, "--quiet", "--port", f"{host}:{port}", "--region", REGION]
    words += ["--iam-dir", str(folder / "accounts")]
    return [*words, "posix", "--versioning-dir", str(folder / "versions"), str(folder / "data")]


def environment(root: Keys) -> dict[str, str]:
    """What the server is started with: the keys of its first account."""
    return {"ROOT_ACCESS_KEY": root.key_id, "ROOT_SECRET_KEY": root.secret}


def add_account(endpoint: str, root: Keys, account: Keys) -> None:
    """Let somebody in, who may make buckets and use those alone; nothing happens where the account is there.

    Raises:
        OSError: when the server refuses.
    """
    fields = {"Access": account.key_id, "Secret": account.secret, "Role": "userplus"}
    body = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    request = AWSRequest("PATCH", f"{endpoint}/create-user", data=f"<Account>{body}</Account>".encode())
    S3SigV4Auth(Credentials(root.key_id, root.secret), "s3", REGION).add_auth(request)
    ready = request.prepare()
    asked = urllib.request.Request(ready.url, ready.body, dict(ready.headers), method="PATCH")  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=30):
            pass
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise


def make_buckets(endpoint: str, keys: Keys, names: Collection[str]) -> None:
    """Make buckets that are not there, as the keys' account.

    Raises:
        HostError: when the server refuses.
    """
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=keys.key_id,
        aws_secret_access_key=keys.secret,
        region_name=REGION,
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )
    try:
        there = {entry["Name"] for entry in client.list_buckets()["Buckets"]}
        for name in sorted(set(names) - there):
            client.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError) as error:
        what = f"cannot make the buckets {', '.join(sorted(names))}: {error}"
        raise HostError([Problem("the object store", what, "Its log is in .apollo/logs.")]) from None
