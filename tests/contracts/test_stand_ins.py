"""What stands in for services is of laptops alone: one module asks for it when it needs it, no image carries it."""

from __future__ import annotations

import ast

from dagster_apollo.dbt.workspace import repository_root

PACKAGE = repository_root() / "dagster_apollo"
ASKS = PACKAGE / "host" / "unset_services.py"


def imports_stand_ins(node: ast.AST) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return any(name.split(".")[0] == "stand_ins" for name in names)


def test_one_module_of_the_package_imports_them() -> None:
    importing = [
        file for file in PACKAGE.rglob("*.py") if any(map(imports_stand_ins, ast.walk(ast.parse(file.read_text()))))
    ]

    assert importing == [ASKS]


def test_it_imports_them_when_it_needs_them() -> None:
    assert not any(imports_stand_ins(node) for node in ast.parse(ASKS.read_text()).body)


def test_the_image_carries_none() -> None:
    copied = [line for line in (repository_root() / "Dockerfile").read_text().splitlines() if line.startswith("COPY")]

    assert any(line.startswith("COPY dagster_apollo ") for line in copied)
    assert [line for line in copied if "stand_ins" in line or line.startswith("COPY . ")] == []
