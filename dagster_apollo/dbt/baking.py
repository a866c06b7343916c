"""Manifests in the image: made while it is built, without a credential, and taken over when a container starts.

They are made as `apollo prepare` makes them, with what `tenant.yaml` says of the connection and `unset` where it is
silent. What is taken over is current only where nothing that a manifest depends on differs; elsewhere the tenant is
prepared anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from dagster_apollo.dbt.preparation import STAMP_FILE, is_current, prepare, replace_file
from dagster_apollo.dbt.workspace import Places, Workspace, open_workspace
from dagster_apollo.errors import ManifestError, Problem, ProblemsError
from dagster_apollo.tenant import tenant_names

BAKED_DIR = Path("/opt/apollo/baked")


# Whether a tenant's manifest had to be made, and what is wrong with it.
Baked = tuple[bool, list[Problem]]
Each = Callable[[Callable[[str], Baked], Sequence[str]], Iterable[Baked]]


def bake(environ: Mapping[str, str], places: Places, baked_dir: Path = BAKED_DIR, each: Each = map) -> list[str]:
    """Make every tenant's manifest and put it into the image.

    Args:
        environ: the build's variables, with DBT_TARGET and no tenant's among them.
        places: the folders; what an earlier build has left in `state_dir` is used where it is current.
        baked_dir: where the image keeps them.
        each: how the work for one tenant is applied to all.

    Returns:
        The tenants whose manifest had to be made.

    Raises:
        ManifestError: with every problem of every tenant, each with the tenant's name.
    """
    names = tenant_names(places.tenants_dir)

    def one(name: str) -> Baked:
        try:
            workspace = open_workspace(environ, places.of_tenant(name), name, parse_only=True)
            is_made = prepare(workspace)
            _keep(workspace.prepared_dir, baked_dir / name)
        except ProblemsError as error:
            return False, [_of_tenant(name, problem) for problem in error.problems]
        except OSError as error:
            remedy = "Check the path, its permissions, and how much room there is."
            what = f"cannot be used: {error.strerror or error}"
            return False, [_of_tenant(name, Problem(str(error.filename or baked_dir), what, remedy))]
        return is_made, []

    for left in baked_dir.iterdir() if baked_dir.is_dir() else ():
        if left.name not in names:  # of a tenant that is gone
            shutil.rmtree(left, ignore_errors=True)
    done = list(each(one, names))
    if problems := [problem for _, found in done for problem in found]:
        raise ManifestError(problems, "the image is not built: not every tenant can be parsed")
    return sorted(name for name, (is_made, _) in zip(names, done, strict=True) if is_made)


def take_baked(workspace: Workspace, baked_dir: Path = BAKED_DIR) -> bool:
    """Put the image's manifest where the tenant's processes look for it, unless theirs is current.

    Returns:
        Whether the tenant's manifest is current now; where it is not, `prepare` makes it, sooner than from nothing.
    """
    if is_current(workspace):
        return True
    source = baked_dir / workspace.tenant.name
    if not (source / STAMP_FILE).exists():
        return False
    workspace.prepared_dir.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir(), key=lambda file: file.name == STAMP_FILE):  # the stamp vouches for the rest
        replace_file(workspace.prepared_dir / file.name, file.read_bytes())
    return is_current(workspace)


def _keep(prepared: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in prepared.iterdir():
        if file.is_file() and file.suffix in (".json", ".msgpack"):
            shutil.copyfile(file, folder / file.name)


def _of_tenant(name: str, problem: Problem) -> Problem:
    named = name in problem.where
    return problem if named else Problem(f"tenants/{name}: {problem.where}", problem.what, problem.remedy)
