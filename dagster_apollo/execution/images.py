"""The images that are built from tenants' folders: which, of what, with which label. `make images` asks for the list.

    python -m dagster_apollo.execution.images [TENANT...]

prints a line for each: the folder, the image, the network (`-` for none) and the label, separated by tabs. Nothing is
built here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster_apollo import environment
from dagster_apollo.errors import ApolloError
from dagster_apollo.execution.image_files import FILES_LABEL, digest_of_files
from dagster_apollo.settings import read
from dagster_apollo.tenant import chosen_names, load_tenant

DOCKERFILE = "Dockerfile"


@dataclass(frozen=True)
class TenantImage:
    """An image that a tenant's folder is built into.

    Attributes:
        folder: the tenant's; the context of the build.
        image: its name and tag.
        network: the network that its containers are attached to.
        label: what it is labelled with, `name=value`.
    """

    folder: Path
    image: str
    network: str | None
    label: str


def tenant_images(tenants_dir: Path, names: Sequence[str]) -> Iterator[TenantImage]:
    """The images of tenants that have a Dockerfile and name an image.

    Raises:
        TenantError: a folder cannot be read.
    """
    for name in names:
        tenant = load_tenant(tenants_dir, name)
        container = tenant.config.container
        if container and (tenant.folder / DOCKERFILE).is_file():
            label = f"{FILES_LABEL}={digest_of_files(tenant.folder)}"
            yield TenantImage(tenant.folder, container.image, container.network, label)


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    try:
        tenants_dir = root / str(read(environment.from_process(root))["APOLLO_TENANTS_DIR"])
        names = chosen_names(tenants_dir, ",".join(sys.argv[1:]) or os.environ.get("TENANTS"))
        for image in tenant_images(tenants_dir, names):
            sys.stdout.write("\t".join([str(image.folder), image.image, image.network or "-", image.label]) + "\n")
    except ApolloError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
