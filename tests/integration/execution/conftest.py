"""What the tests of containers share: the engine seen by one test, and a tenant's image."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container_engine import ContainerEngine
from tests.support.containers import Containers


@pytest.fixture
def containers(container_engine: ContainerEngine, folder: Path) -> Iterator[Containers]:
    made = Containers(container_engine, f"test_{uuid.uuid4().hex[:8]}", folder)
    yield made
    made.remove()
