"""What we use of dbt beyond its public `dbtRunner`, in this one place; and `macro_names.py`.

* `template_cache`: a process's compiled macros. Compiled before the fork, they are three quarters of a small build.
* `write_manifest`, `Compiler.write_graph_file` and `Linker.get_graph_summary`, left out in a fork: dbt writes in every
  build the whole manifest that it was given and its graph, which for a large project takes longer than one model.
* `Linker.link_graph`: which node depends on which, and that none does on itself, follows from the manifest alone.
* `EventManager.fire_event`: of what dbt says for debugging, a run reads a few events; the others cost a third of a
  build to be put together and written as JSON, and are dropped by who reads them.
* `BaseEvent.__init__`: puts an event together, for nobody where it is one of those.
* `agate_helper.empty_table`: the table of a statement that returns nothing. Each time it comes with a parser of dates.
* `PluginManager.get_prefixed_modules`: looks through every folder that Python imports from, in each invocation.
* `BehaviorFlagRendered._default_source`: reads the source of every caller, four times in each invocation, for the name
  of a module that a warning may come to say.
* `RunResultsArtifact` and what is in it: the code that writes it is made when it is first written.
* `CodeBuilder`: keeps for ever what it read of dbt's classes to write the code that reads and writes them.
* `reset_deprecations`, `reset_adapters`: what an invocation leaves in its process; a fork begins without it.
* `DuckDBConnectionManager._ENV`: a fork that ends skips the interpreter's end, where DuckDB closes its file.
* `_MP_CONTEXT`: of dbt's locks. The spawning kind starts a process that looks after them, one for each dbt.
  It is the context of all who ask `multiprocessing` for the spawning kind, so it is changed while dbt runs alone.

`tests/contracts/test_warm_internals.py` names what an upgrade moves.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dbt.compilation
import dbt.mp_context
import dbt.task.runnable
from dbt.adapters.factory import reset_adapters
from dbt.artifacts.schemas.results import RunStatus, TimingInfo
from dbt.artifacts.schemas.run import RunResultOutput, RunResultsArtifact, RunResultsMetadata
from dbt.cli.main import dbtRunner
from dbt.compilation import Linker
from dbt.contracts.graph.manifest import Manifest
from dbt.deprecations import reset_deprecations
from dbt.plugins.manager import PluginManager
from dbt_common.behavior_flags import BehaviorFlagRendered
from dbt_common.clients import agate_helper
from dbt_common.clients.jinja import template_cache
from dbt_common.events.base_types import BaseEvent, EventLevel
from dbt_common.events.event_manager import EventManager
from mashumaro.core.meta.code.builder import CodeBuilder

from dagster_apollo.warm.macro_names import find_macros_once

if TYPE_CHECKING:
    from dbt_common.events.base_types import EventMsg

__all__ = ["Manifest", "close_databases", "compile_macros", "forking_locks", "invoke", "link_once", "parse", "set_up"]


@contextmanager
def forking_locks() -> Iterator[None]:
    """Have dbt's locks be of the kind that needs no process beside: all who use them are threads of one dbt."""
    # Some modules have kept a method of the context, so that another context would come too late.
    context = dbt.mp_context._MP_CONTEXT
    context._name = "fork"
    try:
        yield
    finally:
        del context._name  # its class has another


def parse(environment: Mapping[str, str], folder: Path) -> tuple[Manifest | None, list[str]]:
    """Parse a project in this process, with dbt's partial parse where the target path has one.

    Args:
        environment: every variable that dbt gets.
        folder: the project's.

    Returns:
        The manifest, None when dbt cannot make it, and the text of every error event.
    """
    errors: list[str] = []

    def heard(event: EventMsg) -> None:
        if event.info.level == "error":
            errors.append(str(event.info.msg))  # type: ignore[attr-defined]

    with _as_dbt(environment, folder), forking_locks(), contextlib.redirect_stdout(io.StringIO()):
        ended = dbtRunner(callbacks=[heard]).invoke(["--log-level", "none", "--no-write-json", "parse"])
        reset_adapters()
    if ended.exception is not None and not errors:
        errors.append(f"{type(ended.exception).__name__}: {ended.exception}")
    return (ended.result if isinstance(ended.result, Manifest) else None), errors


def compile_macros(manifest: Manifest) -> None:
    """Compile every macro's template into the cache that dbt keeps for its process."""
    for macro in manifest.macros.values():
        # A macro that does not compile is told of when it is used, or never.
        with contextlib.suppress(Exception):
            template_cache.get_node_template(macro)


def link_once(manifest: Manifest) -> None:
    """Link a project's nodes before any fork, each of which has the graph then that dbt would make of its manifest."""
    linked, nodes, link_graph = Linker(), len(manifest.nodes), Linker.link_graph
    try:
        linked.link_graph(manifest)
    except Exception:  # dbt says what is wrong when it is run
        return

    def link_graph_once(linker: Linker, of: Manifest) -> None:
        if of is manifest and len(of.nodes) == nodes:  # a query on the command line is a node more
            linker.graph = linked.graph.copy()
        else:
            link_graph(linker, of)

    Linker.link_graph = link_graph_once  # type: ignore[method-assign, assignment]


def set_up() -> None:
    """Do once, before any fork, what dbt does when it first comes to it, or each time anew with the same result."""
    # One of the tables that dbt puts a query's rows in: its guesses of types load tables of dates and zones.
    agate_helper.table_from_rows(
        [["1", "2026-01-31", "2026-01-31T12:00:00", "x", "1.5", ""]], ["a", "b", "c", "d", "e", "f"]
    )
    result = RunResultOutput(
        RunStatus.Success, [TimingInfo("execute")], "", 0.0, {}, None, None, "", compiled=None, compiled_code=None,
        relation_name=None,
    )  # fmt: skip
    RunResultsArtifact(RunResultsMetadata(), [result], 0.0).to_dict(omit_none=False)
    for member in vars(CodeBuilder).values():
        if isinstance(member, _lru_cache_wrapper):
            member.cache_clear()
    nothing = agate_helper.empty_table()  # tables are never changed
    agate_helper.empty_table = lambda: nothing
    plugins = PluginManager.get_prefixed_modules()
    PluginManager.get_prefixed_modules = lambda: plugins  # type: ignore[method-assign]
    BehaviorFlagRendered._default_source = staticmethod(_asking_module)  # type: ignore[method-assign]


def _asking_module() -> str:
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__") == BehaviorFlagRendered.__module__:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "Unknown"))


def invoke(
    words: Sequence[str], manifest: Manifest | None, manifest_file: Path, debug_events: Collection[str] | None = None
) -> int:
    """Be `dbt` in this process, whose environment, working folder and output are dbt's already.

    Args:
        words: the command and its arguments.
        manifest: what was parsed; None: dbt parses.
        manifest_file: the same as dbt wrote it when it was prepared; stands in for `manifest.json` of a target path.
        debug_events: the names of those debug events that are read; None: all of them.

    Returns:
        The exit code that the program would have.
    """
    sys.argv = ["dbt", *words]
    reset_deprecations()
    if manifest is not None:
        dbt.task.runnable.write_manifest = _link_to(manifest_file)
        dbt.compilation.Compiler.write_graph_file = lambda *_: None  # type: ignore[method-assign]
        Linker.get_graph_summary = lambda *_: {}  # type: ignore[method-assign]
        find_macros_once()
    if debug_events is not None:
        EventManager.fire_event = _only(debug_events, EventManager.fire_event)  # type: ignore[method-assign]
        _put_events_together_late()
    with forking_locks():
        ended = dbtRunner(manifest=manifest).invoke(list(words))
    if ended.success:
        return 0
    return 1 if ended.exception is None else 2


def close_databases() -> None:
    """Close what dbt has open, as the end of the interpreter would."""
    reset_adapters()
    connections = sys.modules.get("dbt.adapters.duckdb.connections")
    manager: Any = connections and connections.DuckDBConnectionManager
    if manager and manager._ENV is not None:
        manager._ENV.close()
        manager._ENV = None


def _only(debug_events: Collection[str], fire_event: Callable[..., None]) -> Callable[..., None]:
    unread = (EventLevel.DEBUG, EventLevel.TEST)

    def fire(
        manager: EventManager,
        e: BaseEvent,
        level: EventLevel | None = None,
        node: Any = None,
        force_warn_or_error_handling: bool = False,
    ) -> None:
        is_read = (level or e.level_tag()) not in unread or type(e).__name__ in debug_events
        if is_read or force_warn_or_error_handling:
            fire_event(manager, e, level, node, force_warn_or_error_handling)

    return fire


def _put_events_together_late() -> None:
    """When something of them is asked for, which of the events that are dropped nothing is."""
    put_together, look_up = BaseEvent.__init__, BaseEvent.__getattr__

    def begin(event: BaseEvent, *words: Any, **fields: Any) -> None:
        event.__dict__["_given"] = (words, fields)  # to set an attribute is to set a field of the message

    def attribute(event: BaseEvent, key: str) -> Any:
        if (given := event.__dict__.pop("_given", None)) is None:
            return look_up(event, key)
        put_together(event, *given[0], **given[1])
        return getattr(event, key)

    BaseEvent.__init__ = begin  # type: ignore[method-assign, assignment]
    BaseEvent.__getattr__ = attribute  # type: ignore[method-assign]


def _link_to(manifest_file: Path) -> Callable[..., None]:
    def write_manifest(manifest: Manifest, target_path: str, which: str | None = None) -> None:
        file = Path(target_path) / "manifest.json"
        if manifest_file.exists() and not file.exists():
            file.symlink_to(manifest_file)

    return write_manifest


@contextmanager
def _as_dbt(environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    """With dbt's environment, in dbt's working folder, and as it was afterwards."""
    before, here, argv = dict(os.environ), Path.cwd(), sys.argv
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["dbt", "parse"]
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)
        sys.argv = argv
