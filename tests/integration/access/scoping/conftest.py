"""The world in which users of two tenants meet, made once for all tests here that leave it as it was."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scoped_past import give_a_past
from tests.support.scoped_world import World, locations, new_instance, serving


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """On SQLite, as `apollo dev` has it."""
    home = Path(tempfile.mkdtemp(prefix="apollo-scoped-"))
    with new_instance(home) as instance, serving(instance, locations()) as served:
        give_a_past(served)
        yield served
    shutil.rmtree(home, ignore_errors=True)
