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
from types import SimpleNamespace
from typing import Any

import dagster
import dbt.compilation
import dbt.mp_context
import dbt.task.runnable
import pytest
from dagster._core.snap import snapshot_from_execution_plan
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
    "disable_dagster_warnings": (),
    "serializable_error_info_from_exc_info": ("exc_info",),
    "serialize_value": ("val",),
}
# Classes of Dagster: the members that we call, override, read or give.
MEMBERS: dict[str, tuple[str, ...]] = {
    "EngineEventData": ("in_process",),
    "SYSTEM_METADATA_KEY_IO_MANAGER_KEY": (),
    "api": ("_get_execution_plan_from_run", "create_execution_plan"),
    "external_asset": ("create_unexecutable_external_asset_from_assets_def",),
    "metadata_set": ("model_fields",),
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


def linked(**nodes: list[str]) -> Any:
    """As much of a manifest as dbt links: nodes, by what they depend on."""
    kinds = ("sources", "metrics", "semantic_models", "functions", "exposures", "unit_tests", "saved_queries")
    made = {name: SimpleNamespace(unique_id=name, depends_on_nodes=after) for name, after in nodes.items()}
    return SimpleNamespace(nodes=made, **{kind: {} for kind in kinds})


def test_nodes_are_linked_once_as_dbt_links_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def graph(of: Any) -> tuple[list[str], list[tuple[str, str]]]:
        linker = dbt_internals.Linker()
        linker.link_graph(of)
        return list(linker.nodes()), list(linker.edges())

    dbts = dbt_internals.Linker.link_graph
    monkeypatch.setattr(dbt_internals.Linker, "link_graph", dbts)  # as it was, when the test ends
    asked: list[int] = []
    manifest = linked(last=["left", "right"], left=["first"], right=["first"], first=[])
    wanted = graph(manifest)
    dbt_internals.Linker.link_graph = lambda linker, of: asked.append(1) or dbts(linker, of)  # type: ignore[method-assign, assignment, func-returns-value]

    dbt_internals.link_once(manifest)

    assert graph(manifest) == graph(manifest) == wanted
    assert asked == [1]
    assert graph(linked(another=[])) == (["another"], [])
    manifest.nodes["more"] = SimpleNamespace(unique_id="more", depends_on_nodes=["last"])
    assert graph(manifest)[0] == [*wanted[0], "more"]
    assert "linker.link_graph(manifest)" in inspect.getsource(dbt.compilation.Compiler.compile), moved("compile", DBT)


def test_nodes_that_cannot_be_linked_are_left_to_dbt(monkeypatch: pytest.MonkeyPatch) -> None:
    dbts = dbt_internals.Linker.link_graph
    monkeypatch.setattr(dbt_internals.Linker, "link_graph", dbts)

    dbt_internals.link_once(linked(one=["other"], other=["one"]))

    assert dbt_internals.Linker.link_graph is dbts


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
        "once = dg.AutomationCondition.eager()\n"
        "more = {'automation_condition': once, 'owners': ['team:data']}\n"
        "specs = [dg.AssetSpec(name, metadata={name: 1}, **more) for name in 'abcdefg']\n"
        "@dg.multi_asset(specs=specs, can_subset=True)\n"
        "def several(): ...\n"
        "keys = [dg.AssetKey(name) for name in 'abcdefg']\n"
        "defs = dg.Definitions([several], jobs=[dg.define_asset_job('some', selection=keys[:2])])\n"
        "repository = defs.get_repository_def()\n"
        "job, some = repository.get_job('__ASSET_JOB'), repository.get_job('some')\n"
        "fresh = job.get_subset(asset_selection={keys[0]})\n"
        "keep_subsets()\n"
        "def told(job):\n"
        "    nodes = job.asset_layer.asset_graph.asset_nodes\n"
        "    of = {n.key: n.assets_def for n in nodes}\n"
        "    return {key: (d.is_executable, d.get_asset_spec(key), d.resource_defs) for key, d in of.items()}\n"
        "assert {of[0] for of in told(fresh).values()} == {True, False}\n"
        "for checks in (set(), None):\n"
        "    again = job.get_subset(asset_selection={keys[0]}, asset_check_selection=checks)\n"
        "    assert told(again) == told(fresh)\n"
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


def test_a_run_that_goes_on_from_none_reads_nothing_in_the_plan_that_was_stored_with_it() -> None:
    source = inspect.getsource(dagster_internals.api._get_execution_plan_from_run)
    nodes = [*ast.walk(ast.parse(source))]
    read = {n.attr for n in nodes if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "execution_plan_snapshot"}
    [made] = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "create_execution_plan"]
    given = {str(keyword.arg): ast.unparse(keyword.value) for keyword in made.keywords}

    assert read == {"repository_load_data", "initial_known_state"}, moved("_get_execution_plan_from_run", DAGSTER)
    assert {*given} - {"repository_load_data", "known_state"} == {
        "run_config", "step_keys_to_execute", "instance_ref", "tags"
    }, moved("_get_execution_plan_from_run", DAGSTER)  # fmt: skip


def test_the_plan_of_a_run_is_the_one_that_dagster_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    @dagster.op(config_schema={"rows": int})
    def read() -> int:
        return 1

    @dagster.op
    def write(rows: int) -> None:
        """Nothing to do."""

    @dagster.job(executor_def=dagster.in_process_executor)
    def both() -> None:
        write(read())

    loaded = dagster.Definitions(jobs=[both]).get_repository_def()
    job = dagster_internals.job_of(dagster_internals.WarmRepository.of(loaded, "no_such_module", "defs"), "both")
    config = {"ops": {"read": {"config": {"rows": 2}}}}
    api, asked = dagster_internals.api, list[str]()
    dagsters = api._get_execution_plan_from_run
    monkeypatch.setattr(api, "_get_execution_plan_from_run", dagsters)  # as it was, when the test ends
    with dagster.DagsterInstance.ephemeral() as instance:
        runs = [
            instance.create_run_for_job(both, run_config=config),
            instance.create_run_for_job(both, run_config=config, parent_run_id="one", root_run_id="one"),
        ]
        stored = instance.get_execution_plan_snapshot
        monkeypatch.setattr(instance, "get_execution_plan_snapshot", lambda id: asked.append(id) or stored(id))
        wanted = [snapshot_from_execution_plan(dagsters(job, run, instance), "job") for run in runs]
        assert len(asked) == 2
        dagster_internals.leave_plan_unread()
        found = [
            snapshot_from_execution_plan(api._get_execution_plan_from_run(job, run, instance), "job") for run in runs
        ]

    assert found == wanted
    assert len(asked) == 3


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
