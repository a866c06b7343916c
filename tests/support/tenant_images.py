"""Tenants of the repository, copied for a test and with an image of their own: built by the script of `make images`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from dagster_apollo.dbt.workspace import repository_root
from tests.support.container_engine import ContainerEngine
from tests.support.tenant_folders import TenantFolders

SCRIPT = repository_root() / "scripts" / "make_images.sh"


def copy_tenant(tenants: TenantFolders, name: str, **container: object) -> Path:
    """Copy one of the repository's tenants.

    Args:
        tenants: where to.
        name: which.
        container: fields of its container, in place of those that it has.
    """
    folder = tenants.tenants_dir / name
    made = shutil.ignore_patterns("dbt_packages", "target", "logs", "__pycache__")
    shutil.copytree(repository_root() / "tenants" / name, folder, ignore=made)
    file = folder / "tenant.yaml"
    fields = yaml.safe_load(file.read_text(encoding="utf-8"))
    fields["container"] |= container
    file.write_text(yaml.safe_dump(fields, allow_unicode=True), encoding="utf-8")
    return folder


def make_images(tenants: TenantFolders, engine: ContainerEngine, *names: str) -> str:
    """Build the images of these tenants, as `make images` does; what it prints."""
    done = subprocess.run(
        [str(SCRIPT), *names],
        env={**os.environ, **engine.environ, "APOLLO_TENANTS_DIR": str(tenants.tenants_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def image_of(tenants: TenantFolders, engine: ContainerEngine, name: str, image: str) -> Iterator[None]:
    """Have a tenant's image there, and remove it."""
    try:
        make_images(tenants, engine, name)
        yield
    finally:
        engine.run(["image", "rm", "--force", image])
