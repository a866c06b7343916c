"""The images of tenants whose dbt runs in a container, as far as `apollo dev` can have them ready.

Where no engine answers, that is said, and the tenant is served without being built. An image that is built from the
tenant's folder, and is missing or of other files, is built beside everything else that starts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dagster_apollo.dbt.workspace import Places, Workspace, read_tenant, tenant_place
from dagster_apollo.errors import ContainerError, Problem, ProblemsError
from dagster_apollo.execution.container import engine_variables
from dagster_apollo.execution.image_files import digest_of_files
from dagster_apollo.execution.images import DOCKERFILE
from dagster_apollo.execution.obstacle import obstacle
from dagster_apollo.host.processes import Process, ProcessGroup
from dagster_apollo.tenant import tenant_names

# The shell's own, and what `docker` reads.
_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG", "XDG_RUNTIME_DIR", "APOLLO_TENANTS_DIR")
_POLL_SECONDS = 0.5
Say = Callable[[str], None]


@dataclass
class ContainerImages:
    """What became of the images of one `apollo dev`.

    Attributes:
        unusable: the tenants that cannot be built.
        builds: the processes that build images, by tenant.
    """

    unusable: set[str] = field(default_factory=set)
    builds: dict[str, Process] = field(default_factory=dict)

    def wait_for_builds(self, say: Say, still_running: Callable[[], None]) -> list[str]:
        """Wait for the builds; the tenants whose image is there now."""
        built = []
        for name, process in self.builds.items():
            while process.runs():
                still_running()
                time.sleep(_POLL_SECONDS)
            if process.popen.returncode:
                tail = "\n    ".join(process.log.read_text(errors="replace").splitlines()[-5:])
                say(f"{name}: its image cannot be built; the log ({process.log}) ends\n    {tail}")
            else:
                say(f"{name}: its image is built")
                built.append(name)
        return built


def container_problems(environ: Mapping[str, str], places: Places) -> list[Problem]:
    """For each tenant that runs in containers, what would keep them from starting on this machine."""
    problems, engine = [], engine_variables(environ)
    for name in tenant_names(places.tenants_dir):
        try:
            tenant, values = read_tenant(environ, places, name)
            place = tenant_place(tenant, values, places)
        except ProblemsError:
            continue  # the tenants' check says so
        if place is None or (found := obstacle(place, engine, digest_of_files(tenant.folder))) is None:
            continue
        for problem in found.problems:
            what = f"runs in containers, and none starts here: {problem.where}: {problem.what}"
            problems.append(Problem(f"tenants/{name}", what, problem.remedy, "warning"))
    return problems


def begin_images(
    group: ProcessGroup, environ: Mapping[str, str], places: Places, workspaces: Iterable[Workspace], say: Say
) -> ContainerImages:
    """Look whether containers can start for the tenants that need any, and begin to build images that are missing.

    Args:
        group: starts the builds.
        environ: all variables.
        places: the folders.
        workspaces: the tenants; those that do not build in `local` are left to their people.
        say: prints one line.
    """
    images, engine = ContainerImages(), engine_variables(environ)
    for workspace in workspaces:
        tenant = workspace.tenant
        place = tenant_place(tenant, workspace.values, places) if workspace.values.target == "local" else None
        if place is None:
            continue
        found = obstacle(place, engine, digest_of_files(tenant.folder))
        if found is None:
            continue
        can_be_built = found.kind != "no_engine" and (tenant.folder / DOCKERFILE).is_file()
        if not can_be_built:
            images.unusable.add(tenant.name)
            say(f"{tenant.name}: runs in containers, and is not built here{_told(found)}")
            continue
        own = {name: environ[name] for name in _VARIABLES if name in environ}
        command = [str(places.root / "scripts" / "make_images.sh"), tenant.name]
        given = {**own, **engine, "PYTHON": sys.executable}
        process = group.start(f"image-{tenant.name}", command, given, places.root, needed=False)
        process.told = True  # that it ends is no loss
        images.builds[tenant.name] = process
        say(f"{tenant.name}: building {place.image}, which takes a minute or two the first time{_told(found)}")
    return images


def _told(error: ContainerError) -> str:
    return "".join(f"\n    {problem}" for problem in error.problems)
