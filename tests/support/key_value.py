"""The DynamoDB API for a test: the project's stand-in, moto's server, as a process on a free loopback port.

It is about behaviour alone: it checks no signature and takes any key.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config

from stand_ins.answering import READY, READY_PATH
from stand_ins.object_store import REGION
from tests.support.ports import free_port
from tests.support.served import served

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class KeyValueStore:
    """A running server, at its address."""

    endpoint: str

    def settings(self) -> dict[str, str]:
        """What a tenant is given, under the plain names; over these go the keys of an object store, if there is one."""
        return {
            "AWS_ENDPOINT_URL_DYNAMODB": self.endpoint,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": REGION,
        }

    def client(self, service: str = "dynamodb") -> Any:
        """boto3's client."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id="any",
            aws_secret_access_key="any",
            region_name=REGION,
            config=Config(proxies={}, s3={"addressing_style": "path"}),
        )

    def items(self, table: str) -> list[dict[str, Any]]:
        """All items of a table, as Python values, in no particular order."""
        pages = self.client().get_paginator("scan").paginate(TableName=table)
        read = TypeDeserializer().deserialize
        return [{name: read(value) for name, value in item.items()} for page in pages for item in page["Items"]]


@contextmanager
def running_key_value_store(folder: Path | None = None, host: str = "127.0.0.1") -> Iterator[KeyValueStore]:
    """A server of its own.

    Args:
        folder: what it keeps; unset: a new one, gone afterwards.
        host: where it listens: the gateway's address of a container network, for what runs in a container.
    """
    place = folder or Path(tempfile.mkdtemp(prefix="apollo-key-values-"))
    port = free_port()
    store = KeyValueStore(f"http://{host}:{port}")
    command = [sys.executable, "-m", "stand_ins.amazon", str(place), host, str(port)]
    try:
        with served(command, {"PYTHONPATH": str(REPOSITORY)}, f"{store.endpoint}{READY_PATH}", place / "log", READY):
            yield store
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
