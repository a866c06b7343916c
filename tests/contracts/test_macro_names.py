"""What dbt's nodes find under every macro's name is the same where it is looked up once."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from dbt.clients.jinja import MacroGenerator, MacroStack
from dbt.context.macros import MacroNamespace, MacroNamespaceBuilder
from dbt.exceptions import PackageNotFoundForMacroError
from dbt.version import __version__ as dbt_version

from dagster_apollo.warm import macro_names

MOVED = f"dbt {dbt_version}: mend dagster_apollo.warm.macro_names"
INTERNAL = ["dbt_duckdb", "dbt"]
# Each package's macros; several have the same name.
PACKAGES = {
    "dbt": ["view", "table", "log", "ref_name"],
    "dbt_duckdb": ["view", "attach"],
    "utils": ["log", "pivot", "view"],
    "other": ["pivot", "own"],
    "tenant": ["view", "own", "dbt"],
}


@pytest.fixture
def manifest() -> dict[str, dict[str, Any]]:
    """A manifest's macros, by package and name."""
    return {
        package: {name: SimpleNamespace(name=name, package_name=package, macro_sql=name) for name in names}
        for package, names in PACKAGES.items()
    }


@pytest.fixture
def once() -> Iterator[None]:
    """Macros are looked up once, until the test ends."""
    build = MacroNamespaceBuilder.build_namespace
    macro_names.find_macros_once()
    yield
    MacroNamespaceBuilder.build_namespace = build  # type: ignore[method-assign]


def built(manifest: dict[str, Any], package: str, node: object, context: dict[str, Any]) -> MacroNamespace:
    builder = MacroNamespaceBuilder("tenant", package, MacroStack(), INTERNAL, node)
    return builder.build_namespace(manifest, context)


def found(namespace: MacroNamespace) -> dict[str, Any]:
    """What is found under each name, as dbt puts it into a node's context."""
    into: dict[str, Any] = {}
    into.update(namespace)
    return {
        name: {each: vars(generator)["macro"] for each, generator in value.items()}
        if isinstance(value, dict)
        else value.macro
        for name, value in into.items()
    }


@pytest.mark.parametrize("package", ["tenant", "utils", "other"])
def test_every_name_finds_what_dbt_finds(
    manifest: dict[str, Any], package: str, request: pytest.FixtureRequest
) -> None:
    dbts = built(manifest, package, "node", {})
    request.getfixturevalue("once")
    first, second = built(manifest, package, "node", {}), built(manifest, package, "node", {})

    assert type(first) is not type(dbts)
    assert found(dbts)["view"].package_name == ("tenant" if package == "other" else package)
    for ours in (first, second):
        assert found(ours) == found(dbts)
        assert {*ours} == {*dbts}
        assert len(ours) == len(dbts)
        assert "no_such_macro" not in ours
        for asked in [(None, "view"), ("dbt", "view"), ("utils", "pivot"), ("other", "none"), (None, "none")]:
            [one, other] = [namespace.get_from_package(*asked) for namespace in (ours, dbts)]
            assert (one and one.macro) is (other and other.macro), asked  # type: ignore[attr-defined]
        with pytest.raises(PackageNotFoundForMacroError):
            ours.get_from_package("nowhere", "view")


@pytest.mark.usefixtures("once")
def test_a_macro_is_called_in_the_context_of_its_own_node(manifest: dict[str, Any]) -> None:
    contexts: list[dict[str, Any]] = [{"of": 1}, {"of": 2}]

    namespaces = [built(manifest, "tenant", f"node {context['of']}", context) for context in contexts]

    for context, namespace in zip(contexts, namespaces, strict=True):
        everywhere = [namespace["view"], namespace["log"], namespace.packages["utils"]["log"]]
        assert all(generator.context is context for generator in everywhere)  # type: ignore[union-attr]
        assert {generator.node for generator in everywhere} == {f"node {context['of']}"}  # type: ignore[union-attr]
        assert namespace["own"] is namespace.packages["tenant"]["own"]
    assert namespaces[0]["view"].stack is not namespaces[1]["view"].stack  # type: ignore[union-attr]


@pytest.mark.usefixtures("once")
def test_another_manifest_or_another_package_is_looked_up_anew(manifest: dict[str, Any]) -> None:
    built(manifest, "tenant", None, {})
    less = {package: macros for package, macros in manifest.items() if package != "utils"}

    assert "pivot" in built(less, "tenant", None, {})["other"]
    assert "utils" not in built(less, "tenant", None, {})
    assert built(manifest, "utils", None, {})["log"].macro.package_name == "utils"  # type: ignore[union-attr]


def test_a_macro_is_made_of_what_dbts_is_made_of() -> None:
    macro, context, stack = SimpleNamespace(name="view"), {"some": "context"}, MacroStack()

    ours = macro_names._Macro(macro, context, "node", stack)  # type: ignore[arg-type]

    assert vars(ours) == vars(MacroGenerator(macro, context, "node", stack)), MOVED  # type: ignore[arg-type]
    assert isinstance(ours, MacroGenerator)


def test_what_is_exchanged_has_the_form_that_it_is_called_in() -> None:
    parameters = [*inspect.signature(MacroNamespaceBuilder.build_namespace).parameters]
    assert parameters == ["self", "macros_by_package", "ctx"], MOVED
    members = {*vars(MacroNamespaceBuilder("root", "local", MacroStack(), INTERNAL, None))}
    used = {"internal_package_names_order", "root_package", "search_package", "thread_ctx", "node"}
    assert used <= members, MOVED
    given = ["self", "global_namespace", "local_namespace", "global_project_namespace", "packages"]
    assert [*inspect.signature(MacroNamespace.__init__).parameters] == given, MOVED
