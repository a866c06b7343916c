"""How a storage is guarded: a class made of the abstract one, with a rule for each of its methods.

A method without a rule is refused, so that what an upgrade adds is hidden until somebody reviewed it; a rule without a
method fails at import. The rules themselves stand beside this, a module a storage.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from dagster_apollo.access.scoping.scope import Refused, Scope

Call: TypeAlias = Callable[..., Any]
Arguments: TypeAlias = dict[str, Any]
# Given the scope, the real method and its arguments by name.
Rule: TypeAlias = Callable[[Scope, Call, Arguments], Any]


def allowed(scope: Scope, call: Call, arguments: Arguments) -> Any:
    """What tells nothing of any tenant."""
    return call(**arguments)


def ignored(scope: Scope, call: Call, arguments: Arguments) -> None:
    """What concerns the life of the real storage: the guarded one is made and dropped with requests."""


def answered(value: Any) -> Rule:
    """The same answer to everybody."""
    return lambda scope, call, arguments: value


def guarded(base: type, rules: Mapping[str, Rule], refused: Iterable[str]) -> Callable[[Any, Scope], Any]:
    """Make the class.

    Args:
        base: the abstract class; what is made is one of its subclasses, since Dagster checks that.
        rules: by method or property.
        refused: what was reviewed and is refused on purpose; named so that a test can tell it from what is new.

    Returns:
        The class; its instances are made of the real storage and a scope.

    Raises:
        TypeError: when a name is not one of the abstract class's.
    """
    public = {name for name in dir(base) if not name.startswith("_")}
    if unknown := sorted({*rules, *refused} - public):
        raise TypeError(f"{base.__name__} has no {', '.join(unknown)} any more: review its guards")

    def __init__(self: Any, real: Any, scope: Scope) -> None:
        self._real = real
        self._scope = scope

    members: dict[str, Any] = {"__init__": __init__}
    for name in public:
        static = inspect.getattr_static(base, name)
        make = _guarded_property if isinstance(static, property) else _guarded_method
        members[name] = make(base, name, rules.get(name))
    return type(f"Scoped{base.__name__}", (base,), members)


def _guarded_property(base: type, name: str, rule: Rule | None) -> property:
    def read(self: Any) -> Any:
        if rule is None:
            raise Refused(f"{base.__name__}.{name}")
        return rule(self._scope, lambda: getattr(self._real, name), {})

    return property(read)


def _guarded_method(base: type, name: str, rule: Rule | None) -> Call:
    signature = inspect.signature(getattr(base, name))

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if rule is None:
            raise Refused(f"{base.__name__}.{name}")
        arguments = dict(signature.bind(self, *args, **kwargs).arguments)
        arguments.pop("self")
        return rule(self._scope, getattr(self._real, name), arguments)

    method.__name__ = name
    return method
