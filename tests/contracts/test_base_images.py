"""Images of others that ours begin with or stand beside can be made where no image registry is reached."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from dagster_apollo.fork import Fork
from dagster_apollo.topology import topology

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made_here() -> set[str]:
    script = ROOT / "scripts" / "test_parts" / "base_images.sh"
    return set(subprocess.run([str(script), "names"], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "file", [ROOT / "Dockerfile", *sorted(ROOT.glob("tenants/*/Dockerfile"))], ids=lambda file: file.parent.name
)
def test_a_dockerfile_begins_with_images_that_can_be_made(made_here: set[str], file: Path) -> None:
    text = file.read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
    begun_with = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - stages
    assert begun_with
    assert begun_with <= made_here


def test_the_services_of_others_run_images_that_can_be_made(made_here: set[str]) -> None:
    services = topology(Fork(domain="data.example.com")).containers
    images = {service.image for service in services if service.image is not None}
    assert len(images) == 2
    assert images <= made_here
