"""A simulated S3 and DynamoDB that keeps what is in it: moto's server, with its state written to files.

moto holds everything in memory; here buckets with their objects and tables with their items are read back over the
same interface after each change, and put in again at the next start. moto checks no signature: whoever reaches the port
may do everything, so that this is nothing to test access with. Run as `python -m stand_ins.amazon FOLDER HOST PORT`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from stand_ins.answering import READY_PATH

REGION = "us-east-1"
_SETTLE_SECONDS = 0.3  # what is written together is kept together
_READS = re.compile(r"DynamoDB_\d+\.(Get|BatchGet|Query|Scan|List|Describe)")
_CREDENTIAL = re.compile(r"Credential=[^/]+/\d+/([a-z0-9-]+)/dynamodb/")
_TABLE_FIELDS = (
    "TableName",
    "KeySchema",
    "AttributeDefinitions",
    "LocalSecondaryIndexes",
    "GlobalSecondaryIndexes",
    "StreamSpecification",
)
_INDEX_FIELDS = ("IndexName", "KeySchema", "Projection")
Answer = Callable[..., Any]


@dataclass
class Kept:
    """The server's content as files.

    Attributes:
        folder: `state.json`, and beside it one file a distinct content of objects.
        endpoint: the server's.
        regions: those in which tables were spoken of.
    """

    folder: Path
    endpoint: str
    regions: set[str] = field(default_factory=lambda: {REGION})
    _written: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)

    def load(self) -> None:
        """Put what was kept into the server, which is empty."""
        file = self.folder / "state.json"
        if not file.is_file():
            return
        state = json.loads(file.read_text(), object_hook=_decoded)
        for bucket, objects in state["buckets"].items():
            self._s3.create_bucket(Bucket=bucket)
            for entry in objects:
                body = (self.folder / "objects" / entry["content"]).read_bytes()
                named = {"ContentType": entry["type"], "Metadata": entry["metadata"]}
                put = self._s3.put_object(Bucket=bucket, Key=entry["key"], Body=body, **named)
                self._written[bucket, entry["key"], put["ETag"]] = entry
        for region, tables in state["tables"].items():
            self.regions.add(region)
            dynamodb = self._client("dynamodb", region)
            for table in tables:
                dynamodb.create_table(**table["definition"], BillingMode="PAY_PER_REQUEST")
                for item in table["items"]:
                    dynamodb.put_item(TableName=table["definition"]["TableName"], Item=item)

    def save(self) -> None:
        """Write what is in the server now; whole or not at all."""
        (self.folder / "objects").mkdir(parents=True, exist_ok=True)
        buckets = {entry["Name"]: self._objects(entry["Name"]) for entry in self._s3.list_buckets()["Buckets"]}
        tables = {region: self._tables(region) for region in sorted(self.regions)}
        part = self.folder / "state.json.part"
        part.write_text(json.dumps({"buckets": buckets, "tables": tables}, default=_encoded))
        part.replace(self.folder / "state.json")
        needed = {entry["content"] for objects in buckets.values() for entry in objects}
        for file in (self.folder / "objects").iterdir():
            if file.name not in needed:
                file.unlink()

    @property
    def _s3(self) -> Any:
        return self._client("s3", REGION)

    def _client(self, service: str, region: str) -> Any:
        unchecked = {"aws_access_key_id": "kept", "aws_secret_access_key": "kept"}
        config = Config(proxies={}, s3={"addressing_style": "path"})
        return boto3.client(service, endpoint_url=self.endpoint, region_name=region, config=config, **unchecked)

    def _objects(self, bucket: str) -> list[dict[str, Any]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [self._object(bucket, entry) for page in pages for entry in page.get("Contents", [])]

    def _object(self, bucket: str, entry: dict[str, Any]) -> dict[str, Any]:
        identity = (bucket, entry["Key"], entry["ETag"])
        if identity not in self._written:
            found = self._s3.get_object(Bucket=bucket, Key=entry["Key"])
            body = found["Body"].read()
            content = hashlib.sha256(body).hexdigest()
            (self.folder / "objects" / content).write_bytes(body)
            named = {"type": found["ContentType"], "metadata": found["Metadata"]}
            self._written[identity] = {"key": entry["Key"], "content": content, **named}
        return self._written[identity]

    def _tables(self, region: str) -> list[dict[str, Any]]:
        dynamodb = self._client("dynamodb", region)
        tables = []
        for page in dynamodb.get_paginator("list_tables").paginate():
            for name in page["TableNames"]:
                described = dynamodb.describe_table(TableName=name)["Table"]
                scans = dynamodb.get_paginator("scan").paginate(TableName=name)
                items = [item for scan in scans for item in scan["Items"]]
                tables.append({"definition": _definition(described), "items": items})
        return tables


def _definition(described: dict[str, Any]) -> dict[str, Any]:
    """What creates a table again, of what describes it."""
    definition = {name: described[name] for name in _TABLE_FIELDS if described.get(name)}
    for indexes in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes"):
        if indexes in definition:
            definition[indexes] = [{name: index[name] for name in _INDEX_FIELDS} for index in definition[indexes]]
    return definition


def _encoded(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"cannot keep a {type(value).__name__}")
    return {"bytes in base64": base64.b64encode(value).decode()}


def _decoded(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["bytes in base64"]) if value.keys() == {"bytes in base64"} else value


@dataclass
class Application:
    """moto's WSGI application, which also says when it may be used and notices what changes it.

    Attributes:
        moto: moto's own.
        kept: its content as files.
        ready: set when what was kept is in it.
        changed: set by each request that may have changed it.
    """

    moto: Answer
    kept: Kept
    ready: threading.Event = field(default_factory=threading.Event)
    changed: threading.Event = field(default_factory=threading.Event)

    def __call__(self, environ: dict[str, Any], start_response: Answer) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == READY_PATH:
            start_response("204 No Content" if self.ready.is_set() else "503 Service Unavailable", [])
            return []
        if region := _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", "")):
            self.kept.regions.add(region.group(1))
        answer: Iterable[bytes] = self.moto(environ, start_response)
        reads = environ["REQUEST_METHOD"] in ("GET", "HEAD") or _READS.match(environ.get("HTTP_X_AMZ_TARGET", ""))
        if self.ready.is_set() and not reads:
            self.changed.set()
        return answer


def serve(folder: Path, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; what was written is kept within a second, and at the end."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    kept = Kept(folder, f"http://{host}:{port}")
    application = Application(DomainDispatcherApplication(create_backend_app), kept)
    server = make_server(host, port, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.load()
    application.ready.set()
    while not ended.wait(_SETTLE_SECONDS):
        if application.changed.is_set():
            application.changed.clear()
            try:
                kept.save()
            except (ClientError, RuntimeError):  # something was removed while it was read: the next look keeps the rest
                application.changed.set()
    kept.save()


if __name__ == "__main__":
    # The S3 of another process's settings is not this one's.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
