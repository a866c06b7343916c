"""What the program is about: the fork, its services and the stack's configuration, read and checked together.

This is the one place that asks Pulumi for the stack's entries. `pulumi.Config` answers for keys that one knows; an
entry that nobody reads, such as a misspelt one, shows only in the whole map that the engine hands to the program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pulumi
from pulumi import runtime

from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.fork import Fork, load_fork
from dagster_apollo.topology import Topology, topology
from infra.configuration import PROJECT, Configuration, parse
from infra.variables import problems


@dataclass(frozen=True)
class Stack:
    """One Docker host and what is on it.

    Attributes:
        fork: what `apollo.toml` says.
        services: its topology.
        configuration: what this host differs in from another.
    """

    fork: Fork
    services: Topology
    configuration: Configuration

    @property
    def address(self) -> str:
        """The webserver's, as people type it."""
        return self.configuration.address(self.fork)


def read(root: Path) -> Stack:
    """Read `apollo.toml` of a folder and the entries of the running stack.

    Raises:
        pulumi.RunError: with everything that is wrong; Pulumi shows it without a traceback.
    """
    found: list[Problem] = []
    services, configuration = None, None
    try:
        services = topology(load_fork(root))
    except ProblemsError as error:
        found += error.problems
    try:
        configuration = parse(*_entries())
    except ProblemsError as error:
        found += error.problems
    if services and configuration:
        found += problems(services, configuration.variables)
        if not found:
            return Stack(services.fork, _with_certificates(services, configuration), configuration)
    lines = [f"  - {problem}" for problem in found]
    raise pulumi.RunError("\n".join(["the stack cannot be declared:", *lines]))


def _entries() -> tuple[dict[str, str], set[str]]:
    """The entries of this project by key, and the keys of those that are encrypted."""
    own = f"{PROJECT}:"
    entries = {key.removeprefix(own): text for key, text in runtime.get_config_env().items() if key.startswith(own)}
    return entries, {key.removeprefix(own) for key in runtime.get_config_secret_keys_env()}


def _with_certificates(services: Topology, configuration: Configuration) -> Topology:
    if services.proxy is None or not configuration.internal_certificates:
        return services
    proxy = replace(services.proxy, command=(*services.proxy.command, "--internal-certs"))
    return replace(services, proxy=proxy)
