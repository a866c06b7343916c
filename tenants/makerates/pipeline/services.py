"""The object store and the key-value store that the environment names, and what their refusals mean in plain words.

`AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL_DYNAMODB` name servers other than Amazon's; boto3 reads them, and the
credentials, itself. No credential is ever part of a message.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_WRONG_SECRET = {"SignatureDoesNotMatch", "InvalidSignatureException"}
_WRONG_KEY = {"InvalidAccessKeyId", "UnrecognizedClientException", "InvalidClientTokenId", "403", "AccessDenied"}


def s3() -> Any:
    """A client of the object store. Buckets are part of the path: servers other than Amazon's know no other form."""
    style = "path" if os.environ.get("AWS_ENDPOINT_URL_S3") else "auto"
    return boto3.client("s3", region_name=_region(), config=_config(s3={"addressing_style": style}))


def dynamodb() -> Any:
    """The key-value store."""
    return boto3.resource("dynamodb", region_name=_region(), config=_config())


def bucket_and_prefix(variable: str, *folders: str) -> tuple[str, str]:
    """The bucket, and what keys begin with, of a variable that holds `s3://bucket/prefix`, and of folders below."""
    url = urlsplit(os.environ.get(variable, ""))
    if url.scheme != "s3" or not url.netloc:
        sys.exit(f"{variable} is not `s3://bucket/prefix`. Set it under `environment` of tenant.yaml.")
    parts = [part for part in (url.path.strip("/"), *folders) if part]
    return url.netloc, "".join(f"{part}/" for part in parts)


def objects(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Every object whose key begins so, as S3 lists it."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", [])


@contextmanager
def in_plain_words(place: str) -> Iterator[None]:
    """End the program with one line when the service at `place` refuses or is not there."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        sys.exit(f"{place}: {code}: {error.response['Error'].get('Message', '')} {_remedy(code)}".strip())
    except BotoCoreError as error:
        remedy = "Look at AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_DYNAMODB, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY."
        sys.exit(f"{place}: {type(error).__name__}: {' '.join(str(error).split())} {remedy}")


def _remedy(code: str) -> str:
    if code in _WRONG_SECRET:
        return "AWS_SECRET_ACCESS_KEY is not the secret of AWS_ACCESS_KEY_ID."
    if code in _WRONG_KEY:
        return "AWS_ACCESS_KEY_ID is not known there, or may not do this."
    if code in ("NoSuchBucket", "404"):
        return "Make the bucket, or name another under `environment` of tenant.yaml."
    return ""


def _region() -> str:
    return os.environ.get("AWS_REGION") or "us-east-1"


def _config(**more: Any) -> Config:
    # A server that does not answer is told of within a minute, not after botocore's own five.
    return Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3}, **more)
