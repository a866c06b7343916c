"""A Kubernetes API server for a test: the calls that dagster-k8s makes for jobs, each job judged by Kubernetes' schema.

It schedules nothing: a test says how far a job is. What the schema does not allow is refused as the API server refuses
it, so that a job that is taken here has the form that a cluster takes.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

_SCHEMA = Path(__file__).resolve().parents[1] / "data" / "kubernetes" / "job.schema.json"
_JOBS = re.compile(r"/apis/batch/v1/namespaces/(?P<namespace>[^/]+)/jobs(/(?P<name>[^/?]+))?(/status)?")
_PODS = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/pods(/(?P<name>[^/?]+))?")


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(_SCHEMA.read_text(encoding="utf-8")))


def problems(job: object) -> list[str]:
    """What of a job Kubernetes' schema does not allow."""
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in _validator().iter_errors(job)]


@dataclass
class Cluster:
    """What the server holds.

    Attributes:
        jobs: by namespace and name, as they were asked for.
        statuses: how far each is, by name.
        asked: method and path of every request.
        down: it answers everything with 503.
    """

    kubeconfig: Path
    jobs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    down: bool = False

    def the_job(self) -> dict[str, Any]:
        """The only job there is."""
        [job] = self.jobs.values()
        return job

    def becomes(self, **status: int) -> None:
        """The only job is so far: `active=1`, `succeeded=1`, `failed=1`."""
        self.statuses[self.the_job()["metadata"]["name"]] = dict(status)

    def answer(self, method: str, path: str, content: Any) -> tuple[int, dict[str, Any]]:
        """What is said to one request."""
        self.asked.append(f"{method} {path}")
        if self.down:
            return 503, _status(503, "the server is currently unable to handle the request")
        if found := _JOBS.fullmatch(path):
            return self._about_jobs(method, found["namespace"], found["name"], content)
        if _PODS.fullmatch(path) and method == "GET":
            return 200, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []}
        return 404, _status(404, "not found")

    def _about_jobs(self, method: str, namespace: str, name: str | None, job: Any) -> tuple[int, dict[str, Any]]:
        if method == "POST":
            if wrong := problems(job):
                return 422, _status(422, "; ".join(wrong))
            key = (namespace, str(job["metadata"]["name"]))
            if key in self.jobs:
                return 409, _status(409, "already exists")
            self.jobs[key] = job
            return 201, job
        if (namespace, str(name)) not in self.jobs:
            return 404, _status(404, "not found")
        if method == "DELETE":
            del self.jobs[namespace, str(name)]
            return 200, _status(200, "deleted")
        return 200, {**self.jobs[namespace, str(name)], "status": self.statuses.get(str(name), {})}


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A server on loopback until the block ends, with a kubeconfig that leads to it."""
    made = Cluster(folder / "kubeconfig")

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_DELETE(self) -> None:
            self._answer("DELETE")

        def _answer(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, told = made.answer(method, self.path.partition("?")[0], json.loads(body) if body else None)
            text = json.dumps(told).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(f"http://127.0.0.1:{server.server_port}")))
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def _kubeconfig(address: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": address}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }


def _status(code: int, message: str) -> dict[str, Any]:
    verdict = "Success" if code < 400 else "Failure"
    return {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": verdict, "message": message, "code": code}
