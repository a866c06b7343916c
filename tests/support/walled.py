"""A stack whose code host has the rights of its container and gives each tenant a user, where a test may have that.

Where it may not, on a laptop, tenants share a user, as they do in `apollo dev`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dagster_apollo.locations import all_locations
from dagster_apollo.tenant import tenant_names
from tests.support.parts import MissingPart
from tests.support.postgres import Postgres
from tests.support.roles import Roles
from tests.support.root import Root


@dataclass
class WalledRoles(Roles):
    """Processes of one deployment.

    Attributes:
        is_walled: whether the code host is root.
        variables: beside what every code host is given, this one's.
    """

    is_walled: bool = False
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    def begin(self) -> None:
        """Start everything, and wait until every location is loaded."""
        self.start("migrate")
        assert self.running.pop("migrate").wait(120) == 0, self.logs
        self.start_code()
        self.start("daemon")
        self.start("webserver")
        names = set(all_locations(self.tenants_dir, tenant_names(self.tenants_dir)))
        self.wait_until(lambda: self.loaded() == names, f"{', '.join(sorted(names))} are loaded")

    def start_code(self) -> None:
        """Start the code host, the first time or again."""
        prefix = self.root.like_the_code_host() if self.is_walled else ()
        self.start("code", prefix=prefix, **self.variables)

    def loaded(self) -> set[str]:
        """The locations that are loaded."""
        return {name for name, entry in self.status().get("locations", {}).items() if entry["loaded"]}


@contextmanager
def walled_roles(folder: Path, postgres: Postgres, variables: Mapping[str, str]) -> Iterator[WalledRoles]:
    """Roles of which nothing is left afterwards.

    Args:
        folder: everything of theirs.
        postgres: the instance's.
        variables: of the code host.
    """
    folder.chmod(0o755)  # tenants' users pass through it
    try:
        root, is_walled = Root.here(), True
    except MissingPart:
        root, is_walled = Root(()), False
    roles = WalledRoles(folder, postgres, root=root, is_walled=is_walled, variables=variables)
    own = roles.environ("code")
    kept = (own["DAGSTER_HOME"], own["APOLLO_STATE_DIR"])
    if is_walled:  # without its other rights root writes into its own folders alone
        root.do("mkdir", "-p", *kept)
    try:
        yield roles
    finally:
        roles.kill()
        if is_walled:
            root.do("rm", "-rf", *kept)
