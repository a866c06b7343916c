"""Tenants that cannot be served: each says what is wrong with it, in the check and in its code location alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import Places, repository_root
from dagster_apollo.errors import Problem, ProblemsError
from dagster_apollo.host.inspection import inspect_tenant
from tests.support.tenant_folders import TenantFolders, dbt_project

PLAIN = {"models/orders.sql": "select 1 as id\n"}
ONLY_QA_AND_PROD = """\
{% if target.name not in ['qa', 'prod'] %}
  {{ exceptions.raise_compiler_error('Target ' ~ target.name ~ ' is not one of qa, prod') }}
{% endif %}
select 1 as id
"""


@dataclass(frozen=True)
class Broken:
    """A tenant that cannot be served.

    Attributes:
        files: what stands in its folder beside a plain model.
        told: where the fault is, what it is and what to do, each as a part of the text.
        name: its folder.
        as_it_is: the files are all there is.
        variables: settings beside the usual.
    """

    files: Mapping[str, str]
    told: tuple[str, str, str]
    name: str = "client"
    as_it_is: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


def _tenant_yaml(text: str, where: str, what: str, remedy: str = "docs/tenants.md") -> Broken:
    return Broken({"tenant.yaml": text}, (f"tenants/client/tenant.yaml{where}", what, remedy))


def _project(where: str, what: str, remedy: str, name: str = "shop", **fields: object) -> Broken:
    return Broken({"dbt_project.yml": dbt_project(name, **fields)}, (where, what, remedy))


def _folder(name: str, better: str) -> Broken:
    return Broken({}, (f"tenants/{name}", "the folder's name", f"tenants/{better}`"), name)


def _python(text: str, what: str, remedy: str) -> Broken:
    return Broken({"definitions.py": text}, ("tenants/client/definitions.py", what, remedy))


def _dbt(files: Mapping[str, str], what: str, remedy: str = "apollo dbt client -- parse") -> Broken:
    return Broken(files, ("tenants/client", what, remedy))


SNOWFLAKE = {
    "DBT_TARGET": "dev",
    "SNOWFLAKE_ACCOUNT": "org-account",
    "SNOWFLAKE_ROLE": "loader",
    "SNOWFLAKE_WAREHOUSE": "small",
    "SNOWFLAKE_DATABASE": "shop",
}
ASSET = "import dagster as dg\n@dg.asset(key={key!r})\ndef own(): ...\ndefs = dg.Definitions(assets=[own])\n"

# What shows without starting dbt.
IN_THE_FOLDER: dict[str, Broken] = {
    "tenant.yaml is no YAML": _tenant_yaml("warehouse: [duckdb\n", ", line 2", "is not valid YAML", "Mend"),
    "tenant.yaml is a list": _tenant_yaml("- a\n", "", "holds a list", "field: value"),
    "an unknown field": _tenant_yaml("warehose: duckdb\n", ": warehose", "no such field", "Did you mean `warehouse`?"),
    "an unknown field inside": _tenant_yaml("retries: {number: 1}\n", ": retries.number", "no such field", "count"),
    "a text for a number": _tenant_yaml("retries: {count: two}\n", ": retries.count", "valid integer"),
    "a number for a cron line": _tenant_yaml("schedule: {cron: 5}\n", ": schedule.cron", "valid string"),
    "an unknown time zone": _tenant_yaml(
        "schedule: {timezone: Europe/Stokholm}\n", ": schedule.timezone", "did you mean Europe/Stockholm"
    ),
    "an owner Dagster refuses": _tenant_yaml("owner: Bob\n", ": owner", "'Bob' is neither an e-mail address"),
    "an owner in other letters": _tenant_yaml("owner: böb@example.com\n", ": owner", "neither an e-mail address"),
    "a secret in the file": _tenant_yaml("environment: {API_TOKEN: x}\n", ": environment", "API_TOKEN looks like"),
    "targets of one name": _tenant_yaml("target_names: {local: prod}\n", ": target_names", "the same name"),
    "an unknown target": _tenant_yaml("target_names: {staging: qa}\n", ": target_names", "'local', 'dev' or 'prod'"),
    "tenant.yml": Broken(
        {"tenant.yml": "warehouse: duckdb\n", "dbt_project.yml": dbt_project()},
        ("tenants/client/tenant.yml", "this name is not read", "Rename it"),
        as_it_is=True,
    ),
    "dbt_project.yml is no YAML": Broken(
        {"dbt_project.yml": "name: shop\n  profile: x\n"},
        ("tenants/client/dbt_project.yml, line 2", "is not valid YAML", "Mend"),
    ),
    "a project without a name": Broken(
        {"dbt_project.yml": "profile: x\n"}, ("tenants/client/dbt_project.yml", "its `name` is None", "Give `name:`")
    ),
    "a project called dbt": _project("tenants/client/dbt_project.yml", "'dbt'", "another", "dbt"),
    "a blank in the project's name": _project("tenants/client/dbt_project.yml", "'my shop'", "letters", "my shop"),
    "models outside": _project(": model-paths", "leads out", "inside", model_paths=["../good/models"]),
    "seeds at an absolute path": _project(": seed-paths", "'/etc' leads out", "inside", seed_paths=["/etc"]),
    "packages installed outside": _project(
        ": packages-install-path", "leads out", "inside", packages_install_path="../../packages"
    ),
    "a path by Jinja": _project(": model-paths", "not a plain path", "folder", model_paths=["{{ env_var('HOME') }}"]),
    "an empty folder": Broken({}, ("tenants/client", "holds no dbt_project.yml", "--from PATH"), as_it_is=True),
    "several projects": Broken(
        {"one/dbt_project.yml": dbt_project("one"), "two/dbt_project.yml": dbt_project("two")},
        ("tenants/client", "several dbt projects (one, two)", "`project: one`"),
        as_it_is=True,
    ),
    "a project that is not there": _tenant_yaml("project: other\n", ": project", "'other' is no dbt project", "Name"),
    "another tenant's project": _tenant_yaml("project: ../good\n", ": project", "'../good' is no dbt project", "Name"),
    "a blank in the folder's name": _folder("with blank", "with_blank"),
    "a dash in the folder's name": _folder("with-dash", "with_dash"),
    "a dot in the folder's name": _folder("with.dot", "with_dot"),
    "a digit first": _folder("1st", "t_1st"),
    "two underscores": _folder("a__b", "a_b"),
    "61 letters": _folder("x" * 61, "x" * 60),
    "a prefix that is another's": Broken({}, ("tenants/GOOD", "collides with that of tenants/good", "Rename"), "GOOD"),
    "a model that is another's": Broken(
        {"models/other.sql": "-> ../../good/models/orders.sql"},
        ("tenants/client/models/other.sql", "symlink that leaves", "Replace"),
    ),
    "a folder that is another's": Broken(
        {"macros": "-> ../good/models"}, ("tenants/client/macros", "symlink that leaves", "Replace")
    ),
    "a link where packages would be": Broken(
        {"models/dbt_packages/other": "-> ../../../good"},
        ("tenants/client/models/dbt_packages/other", "symlink that leaves", "Replace"),
    ),
    "a link inside a package": Broken(
        {
            "dbt_packages/pack/dbt_project.yml": dbt_project("pack"),
            "dbt_packages/pack/models": "-> ../../../good/models",
        },
        ("tenants/client/dbt_packages/pack/models", "symlink that leaves", "Replace"),
    ),
    "no Snowflake user and no key": Broken(
        {"tenant.yaml": ""}, ("CLIENT__SNOWFLAKE_USER", "is not set", "SNOWFLAKE_USER for all"), variables=SNOWFLAKE
    ),
    "a Snowflake key that is none": Broken(
        {"tenant.yaml": ""},
        ("CLIENT__SNOWFLAKE_PRIVATE_KEY_PEM", "", ""),
        variables={**SNOWFLAKE, "SNOWFLAKE_USER": "loader", "CLIENT__SNOWFLAKE_PRIVATE_KEY_PEM": "topsecretkey"},
    ),
    "an unknown target in the environment": Broken(
        {}, ("CLIENT__DBT_TARGET", "not one of local, dev, prod", "Set it"), variables={"CLIENT__DBT_TARGET": "qa"}
    ),
    "a package that is nowhere": Broken(
        {"packages.yml": "packages:\n  - local: ../nowhere\n"},
        ("packages.yml: local: ../nowhere", "leads out", "Copy the package"),
    ),
    "a package in the folder that is not there": Broken(
        {"packages.yml": "packages:\n  - local: nowhere\n"},
        ("packages.yml: local: nowhere", "no dbt project at this path", "Copy the package"),
    ),
    "a package that is another tenant": Broken(
        {"packages.yml": "packages:\n  - local: ../good\n"}, ("local: ../good", "leads out", "Copy the package")
    ),
    "packages.yml is no YAML": Broken(
        {"packages.yml": "packages:\n  - local: [\n"}, ("/packages.yml, line", "is not valid YAML", "Mend")
    ),
    "packages are no list": Broken(
        {"packages.yml": "packages: 5\n"}, ("packages.yml: packages", "is not a list", "- package:")
    ),
    "a package whose models are another's": Broken(
        {"dbt_packages/pack/dbt_project.yml": dbt_project("pack", model_paths=["../../../good/models"])},
        ("dbt_packages/pack/dbt_project.yml: model-paths", "leads out", "inside"),
    ),
}  # fmt: skip

# What dbt, Dagster or the tenant's Python says.
IN_ITS_PARTS: dict[str, Broken] = {
    "a schema.yml that is no YAML": _dbt({"models/schema.yml": "models:\n  - name: a\n   b: [\n"}, "schema.yml"),
    "a variable without a default": _dbt(
        {"models/orders.sql": "select '{{ env_var('REGION') }}' as region"}, "'REGION'", "CLIENT__REGION"
    ),
    "a model that is no Jinja": _dbt({"models/orders.sql": "{{ ref('x' }}"}, "model orders (models/orders.sql)"),
    "a Python model that is no Python": _dbt({"models/p.py": "def model(dbt session): ...\n"}, "(p.py, line 1)"),
    "a reference to nothing": _dbt({"models/orders.sql": "select * from {{ ref('nothing') }}"}, "named 'nothing'"),
    "a source that is not declared": _dbt({"models/orders.sql": "from {{ source('a', 'b') }}"}, "named 'a.b'"),
    "models that go round": Broken(
        {"models/orders.sql": "from {{ ref('items') }}", "models/items.sql": "from {{ ref('orders') }}"},
        ("tenants/client/models/", " → orders", "Take one"),
    ),
    "two models of one name": _dbt({"models/more/orders.sql": "select 2"}, "two models with the name"),
    "two models of one table": _dbt({"models/b.sql": "{{ config(alias='orders') }} select 2"}, "identical database"),
    "a seed in another encoding": _dbt({"seeds/s.csv": "a\n\udce5\n"}, "codec can't decode"),
    "a package that nobody has": _dbt(
        {"packages.yml": "packages:\n  - {git: 'file:///nowhere/x.git', revision: a}\n"}, "/nowhere/x.git", "-- deps"
    ),
    "a target of another name": _dbt({"models/orders.sql": ONLY_QA_AND_PROD}, "Target local is not one of qa, prod"),
    "a dbt of another time": _dbt(
        {"dbt_project.yml": dbt_project(require_dbt_version=["<1.5.0"])}, "not supported", "dbt_version_check: false"
    ),
    "our key in a model": _dbt(
        {"models/orders.sql": "select '{{ env_var('DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY') }}'"}, "Secret env vars"
    ),
    "a cron line that is none": _tenant_yaml(
        "warehouse: duckdb\nschedule: {cron: '61 * * * *'}\n", ": schedule", "61 * * * *", "five cron fields"
    ),
    "a schedule of nothing": _tenant_yaml(
        "warehouse: duckdb\nschedule: {select: 'tag:nightly'}\n", ": schedule.select", "selects nothing", "syntax"
    ),
    "a schedule of what only dbt Cloud knows": _tenant_yaml(
        "warehouse: duckdb\nschedule: {select: 'state:modified+'}\n", ": schedule.select", "cannot read", "syntax"
    ),
    "meta that is not Dagster's": Broken(
        {"models/o.yml": "models: [{name: orders, config: {meta: {dagster: {asset_key: 5}}}}]\n"},
        ("tenants/client: models/orders.sql", "model orders", "meta"),
    ),
    "Python that raises": _python("raise RuntimeError('no such thing')\n", "RuntimeError: no such thing", "Mend it"),
    "Python that is none": _python("def x(:\n", "SyntaxError", "Mend it"),
    "Python that imports nothing": _python("import nothing_like_it\n", "No module named 'nothing_like_it'", "Mend it"),
    "Python that exits": _python("import sys\nsys.exit(3)\n", "SystemExit: 3", "Mend it"),
    "Python without definitions": _python("x = 1\n", "has no `defs`", "defs = dg.Definitions"),
    "another's asset": _python(ASSET.format(key=["good", "x"]), "good/x does not begin with client", "key_prefix"),
    "an asset that dbt has": _python(ASSET.format(key=["client", "orders"]), "Duplicate asset key", "Mend"),
    "a job that we have": _python(
        "import dagster as dg\n@dg.job(name='client__build')\ndef j(): ...\ndefs = dg.Definitions(jobs=[j])\n",
        "client__build", "Mend",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "broken", [*IN_THE_FOLDER.values(), *IN_ITS_PARTS.values()], ids=[*IN_THE_FOLDER, *IN_ITS_PARTS]
)
def test_its_check_names_the_fault_and_its_code_location_raises_the_same(broken: Broken, tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write("good", PLAIN)
    _write(tenants, broken)
    before = tenants.files(broken.name)

    problems = _inspected(tenants, broken)
    with pytest.raises(ProblemsError) as raised:
        tenants.load(broken.name, **broken.variables)

    assert problems == list(raised.value.problems)
    where, what, remedy = broken.told
    matching = [p for p in problems if where in p.where and what in p.what and remedy in p.remedy]
    assert matching, "\n".join(map(str, problems))
    assert "topsecretkey" not in str(raised.value)
    assert all("\n" not in str(problem) and "Traceback" not in str(problem) for problem in problems)
    assert tenants.files(broken.name) == before


def test_the_command_line_tells_of_every_broken_tenant_and_lets_the_good_one_be(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write("good", PLAIN)
    tenants.write("unnamed", {**PLAIN, "dbt_project.yml": "profile: x\n"})
    tenants.write("unparsed", {"models/orders.sql": "{{ ref('x' }}"})
    tenants.write("gone", {**PLAIN, "definitions.py": "import os\nos._exit(7)\n"})
    tenants.write(
        "talkative", {**PLAIN, "definitions.py": "import dagster as dg\nprint('{}')\ndefs = dg.Definitions()\n"}
    )

    told = tenants.check()

    assert told["good"] == told["talkative"] == []
    assert "its `name` is None" in told["unnamed"][0].what
    assert "models/orders.sql" in told["unparsed"][0].what
    assert told["gone"][0].where == "tenants/gone/definitions.py"
    assert "ended the process that imported it (exit code 7)" in told["gone"][0].what


def test_a_pipe_in_the_folder_is_refused_before_anybody_waits_for_it(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    folder = tenants.write("client", PLAIN)
    os.mkfifo(folder / "models" / "endless.sql")
    with pytest.raises(ProblemsError, match="is neither a file nor a folder"):
        tenants.load("client")


def test_a_link_that_goes_in_circles_is_told_by_dbt_and_not_by_a_traceback_of_ours(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write("client", {**PLAIN, "models/loop.sql": "-> loop.sql", "models/gone.sql": "-> nowhere.sql"})
    with pytest.raises(ProblemsError, match=r"tenants/client: dbt cannot parse the project: .*\.sql"):
        tenants.load("client")


def test_all_faults_of_one_folder_are_told_together(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write(
        "bad-name",
        {"tenant.yaml": "a: 1\nowner: Bob\n", "dbt_project.yml": dbt_project("my shop", seed_paths=["/etc"])},
    )
    with pytest.raises(ProblemsError) as raised:
        tenants.load("bad-name")
    assert len(raised.value.problems) == 5


ROUTED = {
    "tenant.yaml": "",
    "models/orders.sql": "{{ config(schema='marts') }} select 1 as id\n",
    "macros/schema.sql": "{% macro generate_schema_name(name, node) %}{{ name or 'x' }}{% endmacro %}",
}


def test_two_tenants_that_would_write_one_table_of_snowflake_are_both_refused_by_the_check(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path, SNOWFLAKE_DATABASE="ANALYTICS")
    tenants.write("one", ROUTED)
    tenants.write("two", ROUTED)
    tenants.write("apart", {**ROUTED, "tenant.yaml": "snowflake: {database: another}\n"})
    told = tenants.check()
    assert [p.what for p in told["one"]] == ["would write the same table as tenants/two: analytics.marts.orders"]
    assert [p.what for p in told["two"]] == ["would write the same table as tenants/one: analytics.marts.orders"]
    assert told["apart"] == []


def test_tenants_that_name_no_database_yet_are_not_held_to_share_one(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write("one", ROUTED)
    tenants.write("two", ROUTED)
    assert tenants.check() == {"one": [], "two": []}


def test_a_tenant_checked_alone_is_still_held_against_the_others(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path, SNOWFLAKE_DATABASE="ANALYTICS")
    tenants.write("one", ROUTED)
    tenants.write("two", ROUTED)
    assert [p.what for p in tenants.check("two")["two"]] == [
        "would write the same table as tenants/one: analytics.marts.orders"
    ]


def test_a_schema_that_comes_out_empty_on_snowflake_is_refused_though_it_builds_on_duckdb(tmp_path: Path) -> None:
    tenants = TenantFolders(tmp_path)
    tenants.write("client", {**PLAIN, "tenant.yaml": ""})
    [problem] = tenants.check("client")["client"]
    assert "the schema of orders comes out empty" in problem.what
    assert "+schema" in problem.remedy


def _write(tenants: TenantFolders, broken: Broken) -> None:
    plain = {} if broken.as_it_is else PLAIN
    texts = {path: text for path, text in broken.files.items() if "\udce5" not in text}
    folder = tenants.write(broken.name, {**plain, **texts}, as_it_is=broken.as_it_is)
    for path in broken.files.keys() - texts.keys():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(broken.files[path].encode("utf-8", "surrogateescape"))


def _inspected(tenants: TenantFolders, broken: Broken) -> list[Problem]:
    """What the check's own process finds, found in this one."""
    places = Places(repository_root(), tenants.tenants_dir, tenants.state_dir)
    return inspect_tenant(tenants.of_tenant(broken.name, **broken.variables), places, broken.name)
