"""A folder is a tenant: what is there by default, and every way of getting its files wrong, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_apollo.errors import Problem, TenantError
from dagster_apollo.tenant import TenantConfig, chosen_names, load_tenant, tenant_names

PROJECT = "name: shop\nprofile: shop\n"


def tenant_folder(tmp_path: Path, config: str | None = None, name: str = "shop", project: str = PROJECT) -> Path:
    folder = tmp_path / "tenants" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dbt_project.yml").write_text(project)
    if config is not None:
        (folder / "tenant.yaml").write_text(config)
    return folder


def problems_of(tmp_path: Path, name: str = "shop") -> list[Problem]:
    with pytest.raises(TenantError) as refused:
        load_tenant(tmp_path / "tenants", name)
    assert refused.value.heading == f"the tenant {name} cannot be served"
    return list(refused.value.problems)


# ---- Defaults. ----


@pytest.mark.parametrize("content", [None, "", "# nothing\n", "{}\n", "---\n"])
def test_a_dbt_project_alone_is_a_tenant(tmp_path: Path, content: str | None) -> None:
    folder = tenant_folder(tmp_path, content)

    tenant = load_tenant(tmp_path / "tenants", "shop")

    assert (tenant.name, tenant.folder, tenant.project_dir) == ("shop", folder, folder)
    assert tenant.config == TenantConfig()
    assert tenant.config.model_dump() == {
        "description": "",
        "owner": None,
        "warehouse": "snowflake",
        "services": [],
        "dbt_cloud": None,
        "execution": "process",
        "container": None,
        "python": None,
        "run_on": "host",
        "run_plan": "1c-2g",
        "project": None,
        "target_names": {},
        "seeds_first": None,
        "dbt_version_check": True,
        "environment": {},
        "snowflake": {"account": None, "user": None, "role": None, "warehouse": None, "database": None},
        "log_level": "info",
        "exclude": "",
        "groups": {},
        "code_locations": [],
        "ingestion": None,
        "automation": None,
        "schedule": {
            "cron": "0 6 * * *",
            "timezone": "UTC",
            "select": "fqn:*",
            "exclude": "",
            "running_in": ["prod"],
        },
        "partitions": None,
        "retries": {"count": 2, "after_failure": False, "max_retries": 0, "delay_seconds": 30},
        "notifications": [],
    }


def test_every_field_can_be_said(tmp_path: Path) -> None:
    tenant_folder(
        tmp_path,
        """
description: A shop
owner: team:finance
warehouse: duckdb
target_names: {local: qa, prod: production}
seeds_first: true
dbt_version_check: false
environment: {REGION: north}
snowflake: {account: acme-eu, user: dbt, role: builder, warehouse: xs, database: shop}
schedule: {cron: "*/5 * * * *", timezone: Europe/Stockholm, select: "tag:daily", exclude: "tag:slow", running_in: [dev]}
retries: {count: 0, after_failure: true}
""",
    )

    tenant = load_tenant(tmp_path / "tenants", "shop")

    assert tenant.config.owner == "team:finance"
    assert (tenant.target_name("local"), tenant.target_name("dev"), tenant.target_name("prod")) == (
        "qa",
        "dev",
        "production",
    )
    assert tenant.connection_settings() == {
        "SNOWFLAKE_ACCOUNT": "acme-eu",
        "SNOWFLAKE_USER": "dbt",
        "SNOWFLAKE_ROLE": "builder",
        "SNOWFLAKE_WAREHOUSE": "xs",
        "SNOWFLAKE_DATABASE": "shop",
    }
    assert tenant.config.schedule is not None
    assert tenant.config.schedule.running_in == ["dev"]


def test_a_tenant_may_have_no_schedule(tmp_path: Path) -> None:
    tenant_folder(tmp_path, "schedule: null\n")

    assert load_tenant(tmp_path / "tenants", "shop").config.schedule is None


@pytest.mark.parametrize(
    ("project", "name"),
    [
        ("name: shop\nprofile: acme\n", "acme"),
        ("name: shop\n", "the_default"),
        ("name: shop\nprofile: ''\n", "the_default"),
        ("name: shop\nprofile: \"{{ env_var('P') }}\"\n", "the_default"),
        ("name: shop\nprofile: 7\n", "the_default"),
    ],
)
def test_the_profile_is_the_one_that_the_project_asks_for(tmp_path: Path, project: str, name: str) -> None:
    tenant_folder(tmp_path, project=project)

    assert load_tenant(tmp_path / "tenants", "shop").profile_name("the_default") == name


# ---- What tenant.yaml may not say. ----


@pytest.mark.parametrize(
    ("content", "where", "what", "remedy"),
    [
        ("warehose: duckdb", ": warehose", "there is no such field", "Did you mean `warehouse`? Known are: "),
        ("snowflake: {acount: x}", ": snowflake.acount", "there is no such field",
         "Did you mean `account`? Known are: account, user, role, warehouse, database."),
        ("snowflake: {password: hunter2}", ": snowflake.password", "there is no such field", "Known are: account, "),
        ("schedule: {crn: x}", ": schedule.crn", "there is no such field", "Did you mean `cron`? Known are: cron, "),
        ("retries: {max: 1}", ": retries.max", "there is no such field", "Known are: count, "),
        ("warehouse: bigquery", ": warehouse", "input should be 'snowflake', 'duckdb'", "docs/tenants.md"),
        ("description: 3", ": description", "input should be a valid string", "docs/tenants.md"),
        ("description: [a]", ": description", "input should be a valid string", "docs/tenants.md"),
        ("owner: Jane", ": owner", "'Jane' is neither an e-mail address nor `team:name`", "docs/tenants.md"),
        ("owner: 'team: x'", ": owner", "is neither an e-mail address", "docs/tenants.md"),
        ("project: 1", ": project", "input should be a valid string", "docs/tenants.md"),
        ("seeds_first: 'yes'", ": seeds_first", "input should be a valid boolean", "docs/tenants.md"),
        ("dbt_version_check: 1", ": dbt_version_check", "input should be a valid boolean", "docs/tenants.md"),
        ("target_names: {qa: x}", ": target_names.qa.[key]", "input should be 'local', 'dev' or 'prod'", "docs"),
        ("target_names: {dev: prod}", ": target_names", "two of our targets would have the same name", "docs"),
        ("target_names: {dev: a b}", ": target_names", "'a b' is not a target's name", "docs"),
        ("environment: {A: 1}", ": environment.A", "input should be a valid string", "docs"),
        ("environment: {'A-B': x}", ": environment", "'A-B' is not a variable's name", "docs"),
        ("environment: [A]", ": environment", "input should be a valid dictionary", "docs"),
        ("schedule: daily", ": schedule", "input should be a valid dictionary or instance of Schedule", "docs"),
        ("schedule: {cron: 5}", ": schedule.cron", "input should be a valid string", "docs"),
        ("schedule: {timezone: Europe/Stokholm}", ": schedule.timezone",
         "'Europe/Stokholm' is not an IANA time zone (did you mean Europe/Stockholm?)", "docs"),
        ("schedule: {running_in: prod}", ": schedule.running_in", "input should be a valid list", "docs"),
        ("schedule: {running_in: [production]}", ": schedule.running_in.0", "input should be 'local', 'dev' or 'prod'",
         "docs"),
        ("retries: {count: 11}", ": retries.count", "input should be less than or equal to 10", "docs"),
        ("retries: {count: -1}", ": retries.count", "input should be greater than or equal to 0", "docs"),
        ("retries: {count: '2'}", ": retries.count", "input should be a valid integer", "docs"),
        ("retries: {after_failure: 1}", ": retries.after_failure", "input should be a valid boolean", "docs"),
        ("retries: null", ": retries", "input should be a valid dictionary", "docs"),
        ("snowflake: {account: 12345}", ": snowflake.account", "input should be a valid string", "docs"),
        ("- a\n- b", "", "holds a list, not fields", "Write `field: value` lines."),
        ("just words", "", "holds a str, not fields", "Write `field: value` lines."),
        ("a: [1\nb: 2", ", line 2, column 2", "is not valid YAML: expected ',' or ']'", "Mend the file."),
        ("a: b: c", ", line 1, column 5", "is not valid YAML: mapping values are not allowed here", "Mend the file."),
        ("a: !!python/object:os.system {}", ", line 1, column 4", "is not valid YAML: could not determine", "Mend"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_what_would_be_right(
    tmp_path: Path, content: str, where: str, what: str, remedy: str
) -> None:
    tenant_folder(tmp_path, content)

    [problem] = problems_of(tmp_path)

    assert problem.where == f"tenants/shop/tenant.yaml{where}"
    assert problem.what.startswith(what) or what in problem.what
    assert remedy in problem.remedy
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    "name", ["API_TOKEN", "my_password", "DBT_ENV_SECRET_X", "SNOWFLAKE_PRIVATE_KEY_PEM", "aws_access_key"]
)
def test_a_secret_in_tenant_yaml_is_refused_and_not_shown(tmp_path: Path, name: str) -> None:
    tenant_folder(tmp_path, f"environment: {{{name}: hunter2}}\n")

    [problem] = problems_of(tmp_path)

    assert f"{name} looks like a secret: set it in the environment, with the tenant's prefix" in problem.what
    assert "hunter2" not in str(problem)


def test_all_that_is_wrong_with_a_folder_is_told_together(tmp_path: Path) -> None:
    folder = tenant_folder(
        tmp_path, "warehouse: x\nretries: {count: 99}\nfoo: 1\n", project="name: 7\nmodel-paths: ['..']\n"
    )
    (tmp_path / "elsewhere.sql").write_text("select 1")
    (folder / "linked.sql").symlink_to(tmp_path / "elsewhere.sql")

    assert [problem.where for problem in problems_of(tmp_path)] == [
        "tenants/shop/tenant.yaml: warehouse",
        "tenants/shop/tenant.yaml: retries.count",
        "tenants/shop/tenant.yaml: foo",
        "tenants/shop/dbt_project.yml: model-paths",
        "tenants/shop/dbt_project.yml",
        "tenants/shop/linked.sql",
    ]


def test_a_misnamed_tenant_yaml_is_told(tmp_path: Path) -> None:
    (tenant_folder(tmp_path) / "tenant.yml").write_text("warehouse: duckdb\n")

    [problem] = problems_of(tmp_path)

    assert (problem.where, problem.remedy) == ("tenants/shop/tenant.yml", "Rename it to tenant.yaml.")


def test_a_file_that_is_no_utf_8_is_told(tmp_path: Path) -> None:
    (tenant_folder(tmp_path) / "tenant.yaml").write_bytes("description: ä\n".encode("latin-1"))

    assert str(problems_of(tmp_path)[0]) == "tenants/shop/tenant.yaml: is not UTF-8 text. Save it as UTF-8."


# ---- Where the dbt project is. ----


def test_a_project_is_found_below_the_folder(tmp_path: Path) -> None:
    folder = tenant_folder(tmp_path)
    (folder / "dbt_project.yml").unlink()
    for path in ("transform/dbt", "transform/dbt/dbt_packages/other", "target/copy", ".venv/lib"):
        (folder / path).mkdir(parents=True)
        (folder / path / "dbt_project.yml").write_text(PROJECT)

    assert load_tenant(tmp_path / "tenants", "shop").project_dir == folder / "transform" / "dbt"


def test_several_projects_ask_for_a_choice_and_tenant_yaml_makes_it(tmp_path: Path) -> None:
    folder = tenant_folder(tmp_path)
    (folder / "dbt_project.yml").unlink()
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "dbt_project.yml").write_text(f"name: {name}\n")

    [problem] = problems_of(tmp_path)
    assert problem.what == "holds several dbt projects (a, b)"
    assert problem.remedy == "Say which in tenant.yaml: `project: a`."

    (folder / "tenant.yaml").write_text("project: b\n")
    assert load_tenant(tmp_path / "tenants", "shop").project["name"] == "b"


@pytest.mark.parametrize("project", ["nowhere", "..", "../cellar", "/tmp"])
def test_the_project_is_a_folder_of_this_tenant(tmp_path: Path, project: str) -> None:
    tenant_folder(tmp_path, name="cellar")
    tenant_folder(tmp_path, f"project: {project}\n")

    [problem] = problems_of(tmp_path)

    assert (problem.where, problem.what) == ("tenants/shop/tenant.yaml: project", f"{project!r} is no dbt project")


def test_a_folder_without_a_project_is_told_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "tenants" / "shop").mkdir(parents=True)

    [problem] = problems_of(tmp_path)

    assert problem.what == "holds no dbt_project.yml"
    assert "apollo tenant new shop --from PATH" in problem.remedy


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("model-paths: ['../cellar/models']", "'../cellar/models' leads out of the tenant's folder"),
        ("seed-paths: /etc", "'/etc' leads out of the tenant's folder"),
        ("macro-paths: [macros, \"{{ env_var('HOME') }}\"]", "is not a plain path"),
        ("packages-install-path: ../elsewhere", "'../elsewhere' leads out of the tenant's folder"),
    ],
)
def test_the_projects_paths_stay_in_the_tenants_folder(tmp_path: Path, line: str, what: str) -> None:
    tenant_folder(tmp_path, project=f"{PROJECT}{line}\n")

    [problem] = problems_of(tmp_path)

    assert problem.where == f"tenants/shop/dbt_project.yml: {line.partition(':')[0]}"
    assert what in problem.what


@pytest.mark.parametrize("name", ["", "7", "my-shop", "[a]", "2fast"])
def test_a_project_has_a_name_that_dbt_takes(tmp_path: Path, name: str) -> None:
    tenant_folder(tmp_path, project=f"name: {name}\nprofile: x\n")

    [problem] = problems_of(tmp_path)

    assert (problem.where, problem.remedy) == (
        "tenants/shop/dbt_project.yml",
        "Give `name:` in letters, digits and `_`.",
    )


def test_links_inside_the_folder_and_those_of_packages_are_well(tmp_path: Path) -> None:
    folder = tenant_folder(tmp_path)
    (folder / "a.sql").write_text("select 1")
    (folder / "b.sql").symlink_to("a.sql")
    (folder / "dbt_packages").mkdir()
    (folder / "dbt_packages" / "shared").symlink_to(tmp_path)

    assert load_tenant(tmp_path / "tenants", "shop").name == "shop"


# ---- Names. ----


@pytest.mark.parametrize(
    ("name", "better"),
    [("my-shop", "my_shop"), ("my shop", "my_shop"), ("2fast", "t_2fast"), ("a__b", "a_b"), ("ä", "client"),
     ("x" * 61, "x" * 60)],
)  # fmt: skip
def test_a_name_that_cannot_be_a_code_location_is_refused_with_a_better_one(
    tmp_path: Path, name: str, better: str
) -> None:
    tenant_folder(tmp_path, name=name)

    [problem] = problems_of(tmp_path, name)

    assert problem.remedy == f"Rename it: `git mv 'tenants/{name}' tenants/{better}`."


def test_folders_that_begin_with_a_dot_or_an_underscore_are_no_tenants(tmp_path: Path) -> None:
    for name in ("shop", "cellar", "_template", ".git"):
        tenant_folder(tmp_path, name=name)
    (tmp_path / "tenants" / "README.md").write_text("")

    assert tenant_names(tmp_path / "tenants") == ["cellar", "shop"]
    assert tenant_names(tmp_path / "nowhere") == []
    with pytest.raises(TenantError, match="no such folder under tenants/"):
        load_tenant(tmp_path / "tenants", "_template")


def test_some_tenants_may_be_chosen_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    for name in ("shop", "cellar", "press"):
        tenant_folder(tmp_path, name=name)
    tenants_dir = tmp_path / "tenants"

    assert chosen_names(tenants_dir, None) == ["cellar", "press", "shop"]
    assert chosen_names(tenants_dir, "") == ["cellar", "press", "shop"]
    assert chosen_names(tenants_dir, " shop, cellar ,shop,") == ["cellar", "shop"]
    with pytest.raises(TenantError) as refused:
        chosen_names(tenants_dir, "shp,nobody")
    assert [str(problem) for problem in refused.value.problems] == [
        "shp: no such folder under tenants/. Did you mean shop?",
        "nobody: no such folder under tenants/. There are: cellar, press, shop.",
    ]
