"""A real S3 server for a test: versitygw on a free loopback port, gone afterwards.

It checks every signature, and an account may use its own buckets alone: with a wrong secret, or another's keys, a
test is refused as by Amazon.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from stand_ins.object_store import REGION, Keys, add_account, can_keep_objects, command, environment
from tests.support.parts import MissingPart
from tests.support.ports import free_port
from tests.support.served import served
from tests.support.tools import required


@dataclass(frozen=True)
class Account:
    """Somebody who may use the server, and where it is."""

    endpoint: str
    keys: Keys

    def settings(self) -> dict[str, str]:
        """What a tenant is given, under the plain names."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.keys.key_id,
            "AWS_SECRET_ACCESS_KEY": self.keys.secret,
            "AWS_REGION": REGION,
        }

    def client(self) -> Any:
        """boto3's client of this account; it does not try again."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.keys.key_id,
            aws_secret_access_key=self.keys.secret,
            region_name=REGION,
            config=Config(proxies={}, retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
        )

    def make_bucket(self, name: str | None = None) -> str:
        """A new bucket that belongs to this account; its name."""
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str) -> dict[str, bytes]:
        """All that is in a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: self.client().get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


@dataclass(frozen=True)
class ObjectStore:
    """A running server.

    Attributes:
        endpoint: its address.
        root: the keys of its first account, which may do everything.
    """

    endpoint: str
    root: Keys = field(default_factory=lambda: _new_keys("root"))

    def account(self) -> Account:
        """A new account, which may make buckets."""
        keys = _new_keys("account")
        add_account(self.endpoint, self.root, keys)
        return Account(self.endpoint, keys)


@contextmanager
def running_object_store(folder: Path | None = None, host: str = "127.0.0.1") -> Iterator[ObjectStore]:
    """A server of its own.

    Args:
        folder: what it keeps, absolute; unset: a new one, gone afterwards.
        host: where it listens: the gateway's address of a container network, for what runs in a container.

    Raises:
        MissingPart: when this machine has no versitygw, or no file system that it can use.
    """
    program = required("versitygw")
    place = folder or Path(tempfile.mkdtemp(prefix="apollo-objects-"))
    try:
        if not can_keep_objects(place):
            raise MissingPart(f"no file system with extended attributes at {place}: set TMPDIR to one")
        port = free_port()
        store = ObjectStore(f"http://{host}:{port}")
        with served(command(program, place, host, port), environment(store.root), f"{store.endpoint}/", place / "log"):
            yield store
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)


def _new_keys(kind: str) -> Keys:
    return Keys(f"{kind}{uuid.uuid4().hex[:12]}", uuid.uuid4().hex)
