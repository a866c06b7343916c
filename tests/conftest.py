"""Fixtures for all tests, and the rule for real parts that a machine lacks."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.support.browser import open_page
from tests.support.container_engine import ContainerEngine, running_container_engine
from tests.support.key_value import KeyValueStore, running_key_value_store
from tests.support.object_store import Account, ObjectStore, running_object_store
from tests.support.parts import MissingPart
from tests.support.postgres import Postgres, running_postgres
from tests.support.registry import Registry, running_registry
from tests.support.stack import Stack, StartStack
from tests.support.tools import MissingPulumiEngine

# Bytecode is what makes the second process of a test start in a third of the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@contextmanager
def _skipped_without_its_parts() -> Iterator[None]:
    """A part that this machine lacks skips the test, with the reason in pytest's summary; on CI it fails it.

    The Pulumi engine alone may be missing on CI too: no package registry has it.
    """
    try:
        yield
    except MissingPulumiEngine as missing:
        pytest.skip(str(missing))
    except MissingPart as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"with CI=true nothing may be missing: {missing}", pytrace=False)
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    with _skipped_without_its_parts():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    with _skipped_without_its_parts():
        return (yield)


def _new_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="apollo-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, for stacks: pytest's own are too long for the unix sockets below them."""
    yield from _new_folder()


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    """The same for what the tests of a module share."""
    yield from _new_folder()


def _start_stacks(request: pytest.FixtureRequest) -> Iterator[StartStack]:
    started: list[Stack] = []
    failed_before = request.session.testsfailed

    def start(environ: Mapping[str, str], **options: object) -> Stack:
        stack = Stack.start(environ, **options)  # type: ignore[arg-type]
        started.append(stack)
        return stack

    yield start
    for stack in started:
        stack.kill()
        if request.session.testsfailed > failed_before:
            sys.stderr.write(f"{stack.said}\n{stack.logs}\n")  # pytest shows it with the failure


@pytest.fixture
def start_stack(request: pytest.FixtureRequest) -> Iterator[StartStack]:
    """Starts `apollo dev` in an environment; every one is stopped after the test."""
    yield from _start_stacks(request)


@pytest.fixture(scope="module")
def start_shared_stack(request: pytest.FixtureRequest) -> Iterator[StartStack]:
    """The same, stopped after the module's last test."""
    yield from _start_stacks(request)


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a real browser."""
    with open_page() as opened:
        yield opened


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A real Postgres."""
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """A real S3 server, which checks every signature."""
    with running_object_store() as running:
        yield running


@pytest.fixture
def s3_account(object_store: ObjectStore) -> Account:
    """An account of its own on it, which may make buckets and sees no other's."""
    return object_store.account()


@pytest.fixture
def s3_bucket(s3_account: Account) -> str:
    """An empty bucket of that account."""
    return s3_account.make_bucket()


@pytest.fixture(scope="module")
def key_value_store() -> Iterator[KeyValueStore]:
    """The DynamoDB API, simulated, with no table at first."""
    with running_key_value_store() as running:
        yield running


@pytest.fixture(scope="session")
def container_engine() -> Iterator[ContainerEngine]:
    """A real container engine: the machine's, else the tests' own, which is stopped after its last user."""
    with running_container_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def registry(container_engine: ContainerEngine) -> Iterator[Registry]:
    """A real image registry, empty at first."""
    with running_registry(container_engine) as running:
        yield running
