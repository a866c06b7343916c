"""What warm tenants and forked runs use of Dagster, dbt and Python beyond their public names is there as we use it."""

from __future__ import annotations

import ast
import atexit
import inspect
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import dagster
import dbt.compilation
import dbt.mp_context
import dbt.task.runnable
import pytest
from dbt.adapters import factory
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.duckdb.environments import Environment
from dbt.adapters.events.types import SQLQuery
from dbt.cli.main import dbtRunner
from dbt.events.types import NodeFinished
from dbt.version import __version__ as dbt_version
from dbt_common.clients import jinja
from dbt_common.events.base_types import DebugLevel, EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.events.types import Note

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.warm import dagster_internals, dbt_internals
from tests.support.package_source import modules_of

DAGSTER, DBT, FORKING = (f"dagster_apollo.warm.{name}" for name in ("dagster_internals", "dbt_internals", "forking"))


def moved(what: str, adapter: str) -> str:
    return f"{what}. dagster {dagster.__version__}, dbt {dbt_version}, Python {sys.version.split()[0]}: mend {adapter}"


# Functions and constructors of Dagster: the parameters that we pass, and no other that must be given.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "ReconstructableJob": ("repository", "job_name"),
    "ReconstructableRepository": ("pointer",),
    "capture_interrupts": (),
    "core_execute_run": ("recon_job", "dagster_run", "instance", "inject_env_vars"),
    "deserialize_value": ("val", "as_type"),
    "get_run_crash_explanation": ("prefix", "exit_code"),
    "serializable_error_info_from_exc_info": ("exc_info",),
    "serialize_value": ("val",),
}
# Classes of Dagster: the members that we call, override, read or give.
MEMBERS: dict[str, tuple[str, ...]] = {
    "EngineEventData": ("in_process",),
    "ExecuteExternalJobArgs": ("job_origin", "run_id", "instance_ref"),
    "JobSubsetSnapshotArgs": ("job_origin", "op_selection", "asset_selection", "asset_check_selection"),
    "ModuleCodePointer": ("module", "fn_name", "working_directory"),
    "ReconstructableRepository": ("pointer", "get_definition", "with_repository_load_data"),
    "RemoteJobOrigin": ("repository_origin", "job_name"),
    "StartRunResult": ("success", "message", "serializable_error_info"),
}


def test_every_name_of_dagsters_is_held_here() -> None:
    imported = {entry.name for entry in modules_of()[DAGSTER].imports if entry.module.startswith("dagster._")}

    assert imported == {*PARAMETERS, *MEMBERS}, "hold the new name to its form"


@pytest.mark.parametrize(("name", "passed"), PARAMETERS.items(), ids=PARAMETERS)
def test_what_we_pass_to_dagster_is_taken(name: str, passed: tuple[str, ...]) -> None:
    parameters = inspect.signature(getattr(dagster_internals, name)).parameters

    gone = [wanted for wanted in passed if wanted not in parameters]
    assert gone == [], moved(f"{name} no longer takes {', '.join(gone)}", DAGSTER)
    asked = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and key not in passed
    ]
    assert asked == [], moved(f"{name} now also asks for {', '.join(asked)}", DAGSTER)


@pytest.mark.parametrize(("name", "members"), MEMBERS.items(), ids=MEMBERS)
def test_what_we_use_of_dagster_is_there(name: str, members: tuple[str, ...]) -> None:
    kind: Any = getattr(dagster_internals, name)

    gone = [member for member in members if member not in {*dir(kind), *getattr(kind, "__annotations__", {})}]
    assert gone == [], moved(f"{name} has no {', '.join(gone)}", DAGSTER)


def test_a_job_is_loaded_through_its_repository() -> None:
    """What makes a warm repository enough: Dagster asks it, and nothing else, for a job's definition."""

    @dagster.job(executor_def=dagster.in_process_executor)
    def counted() -> None:
        """Nothing to do."""

    loaded = dagster.Definitions(jobs=[counted]).get_repository_def()
    warm = dagster_internals.WarmRepository.of(loaded, "no_such_module", "defs")
    job = dagster_internals.job_of(warm, "counted")

    assert job.get_definition() is loaded.get_job("counted"), moved("ReconstructableJob.get_definition", DAGSTER)
    subset = job.get_subset(op_selection=None).with_repository_load_data(None)
    assert subset.get_repository_definition() is loaded, moved("ReconstructableJob.get_subset", DAGSTER)


def test_a_job_whose_steps_are_processes_of_their_own_is_loaded_as_they_will_load_it() -> None:
    @dagster.job(executor_def=dagster.multiprocess_executor)
    def spread() -> None:
        """Nothing to do."""

    loaded = dagster.Definitions(jobs=[spread]).get_repository_def()
    job = dagster_internals.job_of(dagster_internals.WarmRepository.of(loaded, "some_module", "defs"), "spread")

    assert type(job.repository) is dagster_internals.ReconstructableRepository
    assert job.get_module() == "some_module"


def test_dbt_writes_its_manifest_at_the_end_of_a_build_by_the_name_that_is_replaced() -> None:
    """Whether it is left out is seen by `tests/integration/warm`; here, that the names are those that dbt calls."""
    source = inspect.getsource(dbt.task.runnable.GraphRunnableTask.run)
    assert "write_manifest(self.manifest, self.config.project_target_path)" in source, moved("write_manifest", DBT)
    parameters = [*inspect.signature(dbt.task.runnable.write_manifest).parameters]
    assert parameters == ["manifest", "target_path", "which"], moved("write_manifest", DBT)
    parameters = [*inspect.signature(dbt.compilation.Compiler.write_graph_file).parameters]
    assert parameters == ["self", "linker", "manifest"], moved("Compiler.write_graph_file", DBT)
    assert "self.write_graph_file(" in inspect.getsource(dbt.compilation.Compiler), moved("write_graph_file", DBT)


def test_dbt_summarizes_its_graph_for_a_file_and_for_nothing_else() -> None:
    parameters = [*inspect.signature(dbt.compilation.Linker.get_graph_summary).parameters]
    assert parameters == ["self", "manifest"], moved("Linker.get_graph_summary", DBT)
    source = inspect.getsource(dbt.compilation)
    assert source.count("get_graph_summary(") == source.count("] = linker.get_graph_summary(manifest)") + 1
    assert source.count("summaries") == source.count('summaries["') + 2, moved("graph_summary.json", DBT)


def test_of_dbts_debug_events_those_that_are_read_are_fired_and_all_others_of_every_level() -> None:
    fired = []
    fire = dbt_internals._only({"NodeFinished"}, lambda manager, event, *more: fired.append((type(event), *more)))

    fire(None, NodeFinished())
    fire(None, SQLQuery())
    fire(None, Note(), level=EventLevel.TEST)
    fire(None, Note(), level=EventLevel.INFO)
    fire(None, SQLQuery(), None, "node", True)  # as a warning or an error

    assert fired == [
        (NodeFinished, None, None, False),
        (Note, EventLevel.INFO, None, False),
        (SQLQuery, None, "node", True),
    ]
    parameters = [*inspect.signature(EventManager.fire_event).parameters]
    assert parameters == ["self", "e", "level", "node", "force_warn_or_error_handling"], moved("fire_event", DBT)
    assert issubclass(NodeFinished, DebugLevel), moved("NodeFinished", DBT)


def test_an_event_that_is_put_together_when_it_is_read_says_what_dbts_says() -> None:
    """In a process of its own: events are put together late ever after."""
    program = (
        "from dbt.adapters.events.types import SQLQuery, TypeCodeNotFound\n"
        "from dbt_common.events.base_types import BaseEvent, msg_from_base_event\n"
        "from dbt_common.events.types import Formatting, Note\n"
        "from dagster_apollo.warm import dbt_internals\n"
        "def said():\n"
        "    query = SQLQuery(conn_name='x', sql='select 1', node_info={'node_name': 'm'})\n"
        "    events = [query, Note(msg=7), Formatting('==='), TypeCodeNotFound(type_code=3)]\n"
        "    messages = [msg_from_base_event(event) for event in events]\n"
        "    return [(str(m.data), m.info.msg, m.info.name, m.info.level) for m in messages], Note(msg='y').msg\n"
        "before = said()\n"
        "assert 'select 1' in before[0][0][0], before\n"
        "put_together = BaseEvent.__init__\n"
        "dbt_internals._put_events_together_late()\n"
        "assert BaseEvent.__init__ is not put_together\n"
        "assert 'pb_msg' not in vars(Note(msg='unread'))\n"
        "assert said() == before, (said(), before)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, moved(f"BaseEvent: {ended.stderr}", DBT)


def test_a_subset_of_a_job_is_made_once_for_each_selection() -> None:
    """In a process of its own: subsets are kept ever after."""
    program = (
        "import dagster as dg\n"
        "from dagster_apollo.warm.dagster_internals import keep_subsets\n"
        "@dg.multi_asset(specs=[dg.AssetSpec(name) for name in 'abcdefg'], can_subset=True)\n"
        "def several(): ...\n"
        "keys = [dg.AssetKey(name) for name in 'abcdefg']\n"
        "defs = dg.Definitions([several], jobs=[dg.define_asset_job('some', selection=keys[:2])])\n"
        "repository = defs.get_repository_def()\n"
        "job, some = repository.get_job('__ASSET_JOB'), repository.get_job('some')\n"
        "fresh = job.get_subset(asset_selection={keys[0]})\n"
        "keep_subsets()\n"
        "kept = job.get_subset(asset_selection={keys[0]})\n"
        "assert kept is not fresh and kept.get_job_snapshot_id() == fresh.get_job_snapshot_id()\n"
        "again = repository.get_maybe_subset_job_def('__ASSET_JOB', asset_selection=frozenset(keys[:1]))\n"
        "assert again is kept\n"
        "assert job.get_subset(asset_selection={keys[0]}, asset_check_selection=set()) is not kept\n"
        "assert some.get_subset(asset_selection={keys[0]}).name == 'some'\n"
        "assert job.get_subset() is job\n"
        "assert [node.name for node in job.get_subset(op_selection=['several']).nodes] == ['several']\n"
        "for key in keys[1:]:\n"
        "    assert job.get_subset(asset_selection={key}).asset_layer.selected_asset_keys == {key}\n"
        "assert job.get_subset(asset_selection={keys[0]}) is not kept\n"  # only the last few
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, moved(f"JobDefinition.get_subset: {ended.stderr}", DAGSTER)


def test_what_is_set_up_once_is_what_dbt_would_find_each_time(tmp_path: Path) -> None:
    """In a process of its own: what is set up stays."""
    program = (
        "from dbt.plugins.manager import PluginManager\n"
        "from dbt_common.behavior_flags import Behavior\n"
        "from dbt_common.clients import agate_helper\n"
        "from dagster_apollo.warm import dbt_internals\n"
        "def found():\n"
        "    flags = Behavior([{'name': 'some', 'default': False, 'docs_url': 'https://docs'}], {})._flags\n"
        "    return sorted(PluginManager.get_prefixed_modules()), flags[0]._behavior_change_event.flag_source\n"
        "before = found()\n"
        "dbt_internals.set_up()\n"
        "assert found() == before, (found(), before)\n"
        "assert 'dbt_common' in before[0], before\n"
        "assert before[1] == '__main__', before\n"
        "plugins = PluginManager.from_modules('some')\n"
        "assert agate_helper.empty_table() is agate_helper.empty_table()\n"
        "table = agate_helper.empty_table()\n"
        "assert (table.column_names, list(table.rows), list(table.columns)) == ((), [], []), table\n"
    )

    (tmp_path / "asks.py").write_text(program)
    ended = subprocess.run([sys.executable, str(tmp_path / "asks.py")], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, moved(ended.stderr, DBT)


def test_compiled_macros_are_kept_by_their_text_for_all_of_the_process() -> None:
    assert jinja.template_cache is dbt_internals.template_cache
    assert isinstance(jinja.template_cache.file_cache, dict), moved("template_cache.file_cache", DBT)
    asked = inspect.getsource(jinja.CallableMacroGenerator.get_template)
    assert "template_cache.get_node_template(self.macro)" in asked, moved("CallableMacroGenerator.get_template", DBT)


def test_a_manifests_lock_which_forks_share_is_taken_by_nobody() -> None:
    """A dbt that was killed while it held it would have all later ones of the tenant wait for ever."""
    source = inspect.getsource(sys.modules[dbt_internals.Manifest.__module__])
    assert source.count("_lock") == 2, moved("Manifest._lock", DBT)


def test_what_an_invocation_leaves_can_be_put_back() -> None:
    assert callable(factory.reset_adapters), moved("reset_adapters", DBT)
    assert "reset_deprecations" in {
        node.name for node in ast.walk(_deprecations()) if isinstance(node, ast.FunctionDef)
    }
    assert DuckDBConnectionManager._ENV is None, moved("DuckDBConnectionManager._ENV", DBT)
    assert callable(Environment.close), moved("Environment.close", DBT)
    assert [*inspect.signature(dbtRunner).parameters] == ["manifest", "callbacks"], moved("dbtRunner", DBT)


def _deprecations() -> ast.Module:
    import dbt.deprecations

    return ast.parse(inspect.getsource(dbt.deprecations))


def test_dbts_locks_start_no_process_and_those_of_others_are_as_they_were() -> None:
    program = (
        "import multiprocessing, psutil\n"
        "from dagster_apollo.warm.dbt_internals import Manifest, forking_locks\n"
        "from dbt.mp_context import get_mp_context\n"
        "with forking_locks():\n"
        "    kept = Manifest(), get_mp_context().RLock()\n"
        "print([child.name() for child in psutil.Process().children()])\n"
        "print(multiprocessing.get_context('spawn').get_start_method())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=repository_root(), capture_output=True, text=True, check=False
    )

    assert ended.stdout.splitlines() == ["[]", "spawn"], (
        moved("dbt.mp_context._MP_CONTEXT._name", DBT) + ended.stderr[-500:]
    )


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (atexit, "_clear"),
        (atexit, "_run_exitfuncs"),
        (threading, "_shutdown"),
        (weakref.finalize, "_registry"),
        (weakref.finalize, "_exitfunc"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_what_python_does_at_its_end_has_the_names_by_which_a_fork_does_it(owner: Any, name: str) -> None:
    assert hasattr(owner, name), moved(f"{owner.__name__}.{name}", FORKING)
