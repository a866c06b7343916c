"""Under which names a node's SQL finds every macro, looked up once for all nodes of a package.

For each node dbt makes some five contexts (to compile it, to build it, for each macro that the adapter calls), and for
each it goes through every macro there is, five hundred of its own among them: a quarter of what a view costs. What
differs is the context that a macro is called in.

Private: `MacroNamespaceBuilder.build_namespace`, and what `MacroNamespace` and `MacroGenerator` are made of.
`tests/contracts/test_macro_names.py` holds ours to dbt's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbt.clients.jinja import MacroGenerator
from dbt.context.macros import MacroNamespace, MacroNamespaceBuilder
from dbt.include.global_project import PROJECT_NAME as GLOBAL_PROJECT_NAME

if TYPE_CHECKING:
    from dbt.context.macros import FlatNamespace
    from dbt_common.clients.jinja import MacroProtocol


class _Macro(MacroGenerator):
    """dbt's, made in one step instead of three: it is made for every macro in every context."""

    def __init__(self, macro: MacroProtocol, context: dict[str, Any], node: Any, stack: Any) -> None:
        self.context, self.macro, self.node, self.stack = context, macro, node, stack


class _Namespace(MacroNamespace):
    """dbt's, in which a name is looked up in one table instead of five."""

    def __init__(
        self,
        global_namespace: FlatNamespace,
        local_namespace: FlatNamespace,
        global_project_namespace: FlatNamespace,
        packages: dict[str, FlatNamespace],
    ) -> None:
        super().__init__(global_namespace, local_namespace, global_project_namespace, packages)
        self._members: dict[str, Any] = {
            **global_project_namespace,
            GLOBAL_PROJECT_NAME: global_project_namespace,
            **packages,
            **global_namespace,
            **local_namespace,
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, key: str) -> Any:
        return self._members[key]


@dataclass(frozen=True)
class _Names:
    """Under which names a package's nodes find every macro; each macro is told by its place in `macros`."""

    macros_by_package: Mapping[str, Any]
    macros: Sequence[MacroProtocol]
    global_namespace: Mapping[str, int]
    local_namespace: Mapping[str, int]
    global_project_namespace: Mapping[str, int]
    packages: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, macros_by_package: Mapping[str, Any], namespace: MacroNamespace) -> _Names:
        """Those of a namespace that dbt has made."""
        places: dict[int, int] = {}
        macros: list[MacroProtocol] = []

        def numbered(table: FlatNamespace) -> dict[str, int]:
            for generator in table.values():
                if places.setdefault(id(generator), len(macros)) == len(macros):
                    macros.append(generator.macro)
            return {name: places[id(generator)] for name, generator in table.items()}

        return cls(
            macros_by_package,
            macros,
            numbered(namespace.global_namespace),
            numbered(namespace.local_namespace),
            numbered(namespace.global_project_namespace),
            {name: numbered(table) for name, table in namespace.packages.items()},
        )

    def namespace(self, builder: MacroNamespaceBuilder, context: dict[str, Any]) -> MacroNamespace:
        """What dbt would make for a context of its own."""
        made = [_Macro(macro, context, builder.node, builder.thread_ctx) for macro in self.macros]

        def table(places: Mapping[str, int]) -> FlatNamespace:
            return {name: made[place] for name, place in places.items()}

        return _Namespace(
            table(self.global_namespace),
            table(self.local_namespace),
            table(self.global_project_namespace),
            {name: table(places) for name, places in self.packages.items()},
        )


def find_macros_once() -> None:
    """Have this process, whose manifest stays as it is, look up once where each macro is found."""
    build = MacroNamespaceBuilder.build_namespace
    known: dict[tuple[Any, ...], _Names] = {}

    def build_namespace(
        builder: MacroNamespaceBuilder, macros_by_package: dict[str, Any], ctx: dict[str, Any]
    ) -> MacroNamespace:
        # The manifest's table, which `_Names` keeps: no other comes to have its id.
        internal = tuple(builder.internal_package_names_order)
        key = (id(macros_by_package), builder.root_package, builder.search_package, internal)
        if (names := known.get(key)) is None:
            names = known[key] = _Names.of(macros_by_package, build(builder, macros_by_package, ctx))
        return names.namespace(builder, ctx)

    MacroNamespaceBuilder.build_namespace = build_namespace  # type: ignore[method-assign, assignment]
