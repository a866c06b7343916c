"""The Pulumi program run as the engine runs it, with Pulumi's own mocks in the engine's place: what it declares.

What a mock shows is what is asked for: inputs, which of them are secret, and the options of each resource. What the
provider makes of it is not seen here.
"""

from __future__ import annotations

import asyncio
import json
import runpy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.mocks import MockMonitor, MockResourceArgs, Mocks

from infra.configuration import PROJECT

PROGRAM = Path(__file__).parents[2] / "infra"
CONTAINER, IMAGE = "docker:index/container:Container", "docker:index/remoteImage:RemoteImage"
VOLUME, NETWORK = "docker:index/volume:Volume", "docker:index/network:Network"
PROVIDER = "pulumi:providers:docker"
DIGEST = "ghcr.io/example/dagster-apollo@sha256:" + "a1" * 32
CODE_DIGEST = "ghcr.io/example/dagster-apollo@sha256:" + "b2" * 32
VARIABLES: Mapping[str, str] = {
    "POSTGRES_PASSWORD": "canary-of-the-database",
    "APOLLO_SESSION_SECRET": "canary-of-the-sessions-0123456789abcdef",
    "APOLLO_CODE_TOKEN": "canary-of-the-code-host-0123456789abcdef",
    "APOLLO_ACCESS": "users:\n  canary-of-the-access-file: {}\n",
    "OIDC_ISSUER": "https://canary-of-the-issuer.example.com",
    "OIDC_CLIENT_ID": "canary-of-the-client-id",
    "OIDC_CLIENT_SECRET": "canary-of-the-client",
    "SNOWFLAKE_ACCOUNT": "canary-of-the-account",
    "DBT_WILLIAMGRANT__SNOWFLAKE_PRIVATE_KEY_PEM": "canary-of-the-key\nof two lines",
}
# Pulumi takes the loop that the thread has, which another test may have taken away.
_LOOP = asyncio.new_event_loop()
# How Pulumi marks a secret among what it sends to the engine.
_SECRET = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")


@dataclass(frozen=True)
class Declared:
    """One resource.

    Attributes:
        inputs: what it is declared with, by the provider's names; secrets unwrapped.
        secret: the names of those inputs that are secret as a whole.
        options: its resource options, by the engine's names.
    """

    type: str
    name: str
    inputs: dict[str, Any]
    secret: frozenset[str]
    options: dict[str, Any]


@dataclass
class Program(Mocks):
    """What a program declared.

    Attributes:
        resources: by name.
        outputs: of the stack.
    """

    resources: dict[str, Declared] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def call(self, args: object) -> tuple[dict[str, Any], None]:
        raise AssertionError("the program asks the provider for something")

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = {name: _unwrapped(value) for name, value in args.inputs.items()}
        if args.typ == IMAGE:
            state["imageId"] = f"id of {state['name']}"
        return f"id of {args.name}", state

    def of(self, kind: str) -> dict[str, Declared]:
        """The resources of one type."""
        return {name: resource for name, resource in self.resources.items() if resource.type == kind}

    @property
    def containers(self) -> dict[str, Declared]:
        return self.of(CONTAINER)

    @property
    def volumes(self) -> dict[str, Declared]:
        return self.of(VOLUME)


class _Monitor(MockMonitor):
    mocks: Program

    def RegisterResource(self, request: Any) -> Any:
        if request.type != "pulumi:pulumi:Stack":
            inputs = pulumi.runtime.rpc.deserialize_properties(request.object)
            self.mocks.resources[request.name] = Declared(
                request.type,
                request.name,
                {name: _unwrapped(value) for name, value in inputs.items()},
                frozenset(name for name, value in inputs.items() if _is_secret(value)),
                {
                    "protect": request.protect,
                    "retainOnDelete": request.retainOnDelete,
                    "ignoreChanges": list(request.ignoreChanges),
                    "replaceOnChanges": list(request.replaceOnChanges),
                    "deleteBeforeReplace": request.deleteBeforeReplace,
                    "dependencies": [urn.split("::")[-1] for urn in request.dependencies],
                    "provider": request.provider.split("::")[-2] if request.provider else None,
                },
            )
        return super().RegisterResource(request)


def declared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fork: str = "", secret: bool = True, **entries: Any
) -> Program:
    """Run the program for a fork and a stack.

    Args:
        folder: an empty one, for the fork.
        fork: the text of its `apollo.toml`.
        secret: whether `variables` are encrypted.
        entries: the stack's, over ones that are right; None: left out.

    Raises:
        pulumi.RunError: what the program refuses.
    """
    (folder / "apollo.toml").write_text(fork)
    (folder / "infra").mkdir(exist_ok=True)
    shutil.copy(PROGRAM / "__main__.py", folder / "infra")
    given = {"image": DIGEST, "codeImage": CODE_DIGEST, "variables": dict(VARIABLES), **entries}
    texts = {
        f"{PROJECT}:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in given.items()
        if value is not None
    }
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({**texts, "pulumi:disable-default-providers": "[]"}))
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps([f"{PROJECT}:variables"] if secret else []))
    program = Program()
    monkeypatch.setattr(pulumi, "export", program.outputs.__setitem__)
    asyncio.set_event_loop(_LOOP)
    pulumi.runtime.set_mocks(program, PROJECT, "local", monitor=_Monitor(program))

    @pulumi.runtime.test
    def run() -> None:
        runpy.run_path(str(folder / "infra"), run_name="__main__")

    run()
    return program


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.get(_SECRET[0]) == _SECRET[1]


def _unwrapped(value: Any) -> Any:
    return value["value"] if _is_secret(value) else value
