"""How much one request may ask of the webserver: the bytes of its body, and the depth and breadth of its GraphQL.

Dagster's types refer to each other in circles, so that a line of text may ask for more than any memory holds. The
numbers stand well above what Dagster's own pages ask; `tests/contracts/test_query_limits.py` holds them to that.
Who may ask at all is the login; what he is shown, the scoping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 5_000_000
MAX_TOKENS = 10_000
# Fields within fields. The standard introspection query asks for types of types, over and over, and reads no data.
MAX_DEPTH, MAX_INTROSPECTION_DEPTH = 14, 20
# Fields on one path whose name stands on it already: a circle through the types.
MAX_REPETITIONS = 2
# Fields and fragments, every fragment counted wherever it is used.
MAX_SELECTIONS = 3_000
# Selection sets within each other, also those of fragments, which make no field deeper.
MAX_NESTING = 50
_INTROSPECTION = frozenset({"__schema", "__type"})


@dataclass
class Extent:
    """How far a document goes, at its furthest.

    Attributes:
        depth: fields within fields.
        introspection_depth: the same below `__schema` and `__type`, whose repetitions do not count.
        repetitions: fields on one path whose name stands on it already.
        selections: fields and fragments, with every fragment counted wherever it is used.
        nesting: selection sets within each other.
    """

    depth: int = 0
    introspection_depth: int = 0
    repetitions: int = 0
    selections: int = 0
    nesting: int = 0
    _fragments: Mapping[str, FragmentDefinitionNode] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: DocumentNode) -> Extent:
        """The extent of all of a document's operations together; it is measured no further than a limit.

        Raises:
            GraphQLError: that names the limit that is exceeded.
        """
        fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
        extent = cls(_fragments=fragments)
        for operation in document.definitions:
            if isinstance(operation, OperationDefinitionNode):
                extent._add(operation.selection_set, (), frozenset(), 1)
        return extent

    def _add(self, selected: SelectionSetNode, path: tuple[str, ...], open_: frozenset[str], nesting: int) -> None:
        self.nesting = _within(max(self.nesting, nesting), MAX_NESTING, "selections within each other")
        for selection in selected.selections:
            self.selections = _within(self.selections + 1, MAX_SELECTIONS, "fields and fragments")
            below, seen, inner = path, open_, getattr(selection, "selection_set", None)
            if isinstance(selection, FieldNode):
                below = (*path, selection.name.value)
                self._measure(below)
            elif isinstance(selection, FragmentSpreadNode):
                name = selection.name.value
                fragment = self._fragments.get(name)
                if fragment is None or name in open_:
                    continue  # validation says so, and executes nothing
                seen, inner = open_ | {name}, fragment.selection_set
            if inner is not None:
                self._add(inner, below, seen, nesting + 1)

    def _measure(self, path: tuple[str, ...]) -> None:
        if path[0] in _INTROSPECTION:
            deepest = max(self.introspection_depth, len(path))
            self.introspection_depth = _within(deepest, MAX_INTROSPECTION_DEPTH, "fields within each other")
            return
        self.depth = _within(max(self.depth, len(path)), MAX_DEPTH, "fields within each other")
        repetitions = max(self.repetitions, len(path) - len(set(path)))
        self.repetitions = _within(repetitions, MAX_REPETITIONS, f"repeated fields on one path ({'.'.join(path)})")


def excess_of(query: str) -> GraphQLError | None:
    """By what a query is refused before it is validated; None where it is within the limits, or is no GraphQL."""
    try:
        Extent.of(parse(query, max_tokens=MAX_TOKENS))
    except RecursionError:
        return _excess(MAX_NESTING, "selections within each other")
    except GraphQLError as error:
        if isinstance(error, ExcessError):
            return error
        # Which of the two a syntax error is, is told by its text alone.
        return _excess(MAX_TOKENS, "tokens") if f"more than {MAX_TOKENS} tokens" in error.message else None
    return None


class ExcessError(GraphQLError):
    """A query asks for more than one request may."""


class BodyLimit:
    """Middleware that answers a request with a larger body 413, by what it announces and by what comes.

    Args:
        app: what is behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
            await _too_large()(scope, receive, send)
            return
        came, has_begun = 0, False

        async def receive_counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > MAX_BODY_BYTES:
                raise _TooLargeError
            return message

        async def send_noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive_counted, send_noted)
        except _TooLargeError:
            if has_begun:
                raise
            await _too_large()(scope, receive, send)


class _TooLargeError(Exception):
    """More came than a body may have."""


def _too_large() -> JSONResponse:
    error = f"the body of a request has at most {MAX_BODY_BYTES} bytes"
    return JSONResponse({"error": error}, 413, {"connection": "close"})


def _within(value: int, limit: int, what: str) -> int:
    if value > limit:
        raise _excess(limit, what)
    return value


def _excess(limit: int, what: str) -> ExcessError:
    return ExcessError(f"The query asks for too much at once: at most {limit} {what} are answered. Ask in parts.")
