"""The package as text: its modules, what each imports, and the strings in it."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dagster_apollo.dbt.workspace import repository_root

PACKAGE = "dagster_apollo"


@dataclass(frozen=True)
class Import:
    """One imported name.

    Attributes:
        module: the module as it is named in the statement.
        name: what is taken from it; None for `import module`.
        line: where.
    """

    module: str
    name: str | None
    line: int


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    file: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.file.read_text(encoding="utf-8"))

    @cached_property
    def imports(self) -> list[Import]:
        """All of them, also those within functions."""
        found = []
        for statement in ast.walk(self.tree):
            if isinstance(statement, ast.Import):
                found += [Import(alias.name, None, statement.lineno) for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom):
                dots = "." * statement.level + (statement.module or "")
                module = importlib.util.resolve_name(dots, self.name.rpartition(".")[0]) if statement.level else dots
                found += [Import(module, alias.name, statement.lineno) for alias in statement.names]
        return found

    def needs(self, known: set[str]) -> set[str]:
        """Which of the known modules it imports."""
        named = {f"{entry.module}.{entry.name}" for entry in self.imports} | {entry.module for entry in self.imports}
        return {name for name in named if name in known and name != self.name and name != PACKAGE}


def modules_of(package: str = PACKAGE, root: Path | None = None) -> dict[str, Module]:
    """Every module of a package by its dotted name."""
    root = root or repository_root()
    return {module.name: module for module in _modules(root / package, root)}


def _modules(folder: Path, root: Path) -> Iterator[Module]:
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        yield Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), file)
