"""No code knows a tenant: adding a folder changes nothing else, and no difference hangs on a name."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.tenant import tenant_names
from tests.support.package_source import Module, modules_of

ROOT = repository_root()
NAMES = [name for name in tenant_names(ROOT / "tenants") if (ROOT / "tenants" / name / "dbt_project.yml").exists()]
# A tenant's name, also where it is the prefix of a variable; not as a part of a longer word.
_A_NAME = re.compile("|".join(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![a-z0-9])" for name in NAMES), re.IGNORECASE)
# Declarations that everything runs by. Texts for people (README, docs, .env.example) may name one as an example.
DECLARATIONS = [
    file
    for pattern in ("Makefile", "dagster.yaml", "*.toml", "Dockerfile", "render.yaml", "compose.yaml", "scripts/*",
                    ".github/**/*.yml", ".github/**/*.yaml")
    for file in sorted(ROOT.glob(pattern))
    if file.is_file()
]  # fmt: skip


def executed_strings(module: Module) -> list[tuple[int, str]]:
    """Every string of a module but its docstrings."""
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]


def test_there_are_tenants_to_look_for() -> None:
    assert NAMES


@pytest.mark.parametrize("module", modules_of().values(), ids=modules_of().keys())
def test_no_string_of_the_package_is_a_tenants_name(module: Module) -> None:
    # What projections/ writes for people may show one as an example; it may not look at one.
    strings = [
        (line, text)
        for line, text in executed_strings(module)
        if not (module.name.startswith("dagster_apollo.projections.") and text.startswith("#"))
    ]

    assert [f"line {line}: {text}" for line, text in strings if _A_NAME.search(text)] == []


@pytest.mark.parametrize("module", modules_of().values(), ids=modules_of().keys())
def test_no_name_in_the_code_is_a_tenants(module: Module) -> None:
    source = io.StringIO(module.file.read_text(encoding="utf-8"))
    words = [token.string for token in tokenize.generate_tokens(source.readline) if token.type == tokenize.NAME]

    assert [word for word in words if _A_NAME.search(word)] == []


@pytest.mark.parametrize("file", DECLARATIONS, ids=lambda file: str(Path(file).relative_to(ROOT)))
def test_no_declaration_names_a_tenant(file: Path) -> None:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()

    assert [f"line {number}: {line}" for number, line in enumerate(lines, 1) if _A_NAME.search(line)] == []
