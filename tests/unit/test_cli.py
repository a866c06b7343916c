"""The commands end with 0 when all is well, 1 when something is wrong, 2 when they are called wrongly.

What `--json` prints has the form of docs/commands.md. `main` is called as the installed command calls it.
"""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dagster_apollo.cli import console
from dagster_apollo.cli import main as cli
from dagster_apollo.dbt.workspace import Places, repository_root
from dagster_apollo.settings import SETTINGS
from tests.support.shop_tenant import places_below, write_tenant

SECRET = "correct-horse-Battery"
PROBLEM = {"where", "what", "remedy", "severity"}


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.out)
        return content


Apollo = Callable[..., Ended]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A repository of one's own, with no tenant yet, and a shell with none of our variables."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setattr(console, "repository_root", lambda: tmp_path)
    (tmp_path / "requirements.txt").write_text("")
    return places_below(tmp_path)


@pytest.fixture
def apollo(places: Places, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Apollo:
    monkeypatch.setenv("APOLLO_TENANTS_DIR", str(places.tenants_dir))
    monkeypatch.setenv("APOLLO_STATE_DIR", str(places.state_dir))

    def run(*words: str, **variables: str) -> Ended:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["apollo", *words])
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                cli.main()
        captured = capfd.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Ended(code or 0, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def snowflake() -> dict[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    names = ("ACCOUNT", "USER", "ROLE", "WAREHOUSE", "DATABASE")
    return {**{f"SNOWFLAKE_{name}": name.lower() for name in names}, "SNOWFLAKE_PRIVATE_KEY_PEM": pem}


# ---- Wrong usage. ----


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["tenant", "nonsense"],
        ["tenant", "list", "--nonsense"],
        ["tenant", "list", "surplus"],
        ["tenant", "new"],
        ["keys", "new"],
        ["keys", "rotate", "shop"],
        ["dbt"],
        ["doctor", "surplus"],
        ["prepare", "--force=maybe"],
    ],
)
def test_a_command_that_is_called_wrongly_ends_with_2(apollo: Apollo, words: list[str]) -> None:
    ended = apollo(*words)

    assert ended.code == 2
    assert "Error" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("words", [[], ["tenant"], ["keys"]])
def test_every_command_has_help(apollo: Apollo, words: list[str]) -> None:
    ended = apollo(*words, "--help")

    assert ended.code == 0
    assert "Usage:" in ended.out


# ---- tenant list. ----


def test_tenants_are_listed(apollo: Apollo, places: Places) -> None:
    write_tenant(places, "warehouse: duckdb\nschedule: {cron: '5 4 * * *', running_in: [local, prod]}\n")
    write_tenant(places, name="cellar", project="name: wine\n")

    ended = apollo("tenant", "list", "--json")

    assert ended.code == 0
    assert ended.told == {
        "ok": True,
        "tenants": [
            {
                "name": "cellar",
                "ok": True,
                "target": "local",
                "warehouse": "duckdb",
                "schedule": None,
                "project": "wine",
            },
            {
                "name": "shop",
                "ok": True,
                "target": "local",
                "warehouse": "duckdb",
                "schedule": "5 4 * * *",
                "project": "shop",
            },
        ],
        "problems": [],
    }


def test_the_list_shows_what_each_tenant_would_build_on(apollo: Apollo, places: Places) -> None:
    write_tenant(places)

    [row] = apollo("tenant", "list", "--json", DBT_TARGET="prod").told["tenants"]

    assert (row["target"], row["warehouse"], row["schedule"]) == ("prod", "snowflake", "0 6 * * *")


def test_a_tenant_that_cannot_be_served_is_listed_with_its_problems(apollo: Apollo, places: Places) -> None:
    write_tenant(places, "warehose: x\n")
    write_tenant(places, name="cellar")

    ended = apollo("tenant", "list", "--json")

    assert ended.code == 1
    assert ended.told["ok"] is False
    assert ended.told["tenants"][1] == {
        "name": "shop",
        "ok": False,
        "target": None,
        "warehouse": None,
        "schedule": None,
        "project": None,
    }
    assert ended.told["tenants"][0]["ok"] is True
    assert [set(problem) for problem in ended.told["problems"]] == [PROBLEM]
    assert apollo("tenant", "list").code == 1


def test_the_list_is_also_for_people(apollo: Apollo, places: Places) -> None:
    write_tenant(places)

    ended = apollo("tenant", "list")

    assert ended.code == 0
    for word in ("shop", "local", "duckdb", "stopped"):
        assert word in ended.out


def test_no_tenants_are_an_empty_list(apollo: Apollo) -> None:
    assert apollo("tenant", "list", "--json").told == {"ok": True, "tenants": [], "problems": []}


# ---- tenant check. ----


def test_a_check_tells_everything_of_each_tenant(apollo: Apollo, places: Places) -> None:
    write_tenant(places, "warehose: x\nretries: {count: 99}\n")

    ended = apollo("tenant", "check", "--json")

    assert ended.code == 1
    assert set(ended.told) == {"ok", "tenants", "problems"}
    [row] = ended.told["tenants"]
    assert set(row) == {"name", "ok", "problems"}
    assert (row["name"], row["ok"], ended.told["ok"]) == ("shop", False, False)
    assert {problem["where"] for problem in row["problems"]} == {
        "tenants/shop/tenant.yaml: warehose",
        "tenants/shop/tenant.yaml: retries.count",
    }
    assert ended.told["problems"] == row["problems"]
    assert [set(problem) for problem in row["problems"]] == [PROBLEM, PROBLEM]


def test_a_tenant_that_is_well_passes_its_check(apollo: Apollo, places: Places) -> None:
    folder = write_tenant(places, "warehouse: duckdb\n")
    (folder / "models").mkdir()
    (folder / "models" / "one.sql").write_text("select 1 as id")

    ended = apollo("tenant", "check", "--json", "shop")

    assert ended.told == {"ok": True, "tenants": [{"name": "shop", "ok": True, "problems": []}], "problems": []}
    assert ended.code == 0


@pytest.mark.parametrize("command", [["tenant", "check"], ["prepare"], ["keys", "check"], ["dbt"]])
def test_a_tenant_that_is_not_there_is_told_with_what_was_meant(
    apollo: Apollo, places: Places, command: list[str]
) -> None:
    write_tenant(places)

    ended = apollo(*command, "shp")

    assert ended.code == 1
    assert "shp: no such folder under tenants/. Did you mean shop?" in ended.err
    assert "Traceback" not in ended.err


# ---- tenant new. ----


def test_a_tenant_is_made_once(apollo: Apollo, places: Places) -> None:
    (places.tenants_dir / "_template").symlink_to(repository_root() / "tenants" / "_template")

    assert apollo("tenant", "new", "shop").code == 0
    assert (places.tenants_dir / "shop" / "dbt_project.yml").exists()
    again = apollo("tenant", "new", "shop")
    assert again.code == 1
    assert "tenants/shop: is there already" in again.err
    assert apollo("tenant", "new", "my-shop").code == 1


# ---- keys. ----


def test_keys_are_checked_tenant_by_tenant(apollo: Apollo, places: Places, snowflake: dict[str, str]) -> None:
    write_tenant(places)
    write_tenant(places, "snowflake: {user: cellar_user}\n", name="cellar")
    write_tenant(places, "warehouse: duckdb\n", name="press")

    ended = apollo("keys", "check", "--json", **snowflake)

    assert ended.code == 0
    assert set(ended.told) == {"ok", "keys", "problems"}
    assert [(row["tenant"], row["user"]) for row in ended.told["keys"]] == [("cellar", "cellar_user"), ("shop", "user")]
    for row in ended.told["keys"]:
        assert set(row) == {"tenant", "ok", "user", "account", "fingerprint", "bits"}
        assert (row["ok"], row["account"], row["bits"]) == (True, "account", 2048)
        assert row["fingerprint"].startswith("SHA256:")
    assert ended.told["keys"][0]["fingerprint"] == ended.told["keys"][1]["fingerprint"]


def test_a_key_that_cannot_be_used_is_told_and_not_shown(
    apollo: Apollo, places: Places, snowflake: dict[str, str]
) -> None:
    write_tenant(places)
    broken = {**snowflake, "SHOP__SNOWFLAKE_PRIVATE_KEY_B64": SECRET * 5, "SHOP__SNOWFLAKE_ACCOUNT": "own"}

    ended = apollo("keys", "check", "--json", **broken)

    assert ended.code == 1
    [row] = ended.told["keys"]
    assert row == {"tenant": "shop", "ok": False, "user": "user", "account": "own", "fingerprint": None, "bits": None}
    assert [problem["where"] for problem in ended.told["problems"]] == ["SHOP__SNOWFLAKE_PRIVATE_KEY_B64"]
    shown = apollo("keys", "check", **broken)
    assert shown.code == 1
    assert SECRET not in ended.out + shown.out + shown.err


def test_a_warning_about_a_key_is_no_failure(apollo: Apollo, places: Places, snowflake: dict[str, str]) -> None:
    write_tenant(places)

    ended = apollo("keys", "check", "--json", **snowflake, SNOWFLAKE_PRIVATE_KEY_PASSPHRASE=SECRET)

    assert (ended.code, ended.told["ok"]) == (0, True)
    assert [problem["severity"] for problem in ended.told["problems"]] == ["warning"]
    assert SECRET not in ended.out


def test_a_new_key_pair_is_written_and_its_sql_shown(apollo: Apollo, tmp_path: Path) -> None:
    file = tmp_path / "new.p8"

    ended = apollo("keys", "new", str(file), "--user", "DBT_SHOP")

    assert ended.code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert 'ALTER USER "DBT_SHOP" SET RSA_PUBLIC_KEY' in ended.out.replace(
        "ALTER USER DBT_SHOP", 'ALTER USER "DBT_SHOP"'
    )
    assert f"SNOWFLAKE_PRIVATE_KEY_PATH={file}" in ended.out
    assert file.read_text().splitlines()[1] not in ended.out
    assert apollo("keys", "new", str(file), "--user", "DBT_SHOP").code == 1, "a key that is there is not overwritten"


# ---- doctor. ----


def test_the_doctor_tells_by_heading(apollo: Apollo, places: Places) -> None:
    write_tenant(places, "warehouse: duckdb\n")

    ended = apollo("doctor", "--json")

    assert ended.code == 0
    assert set(ended.told) == {"ok", "checks", "problems"}
    assert list(ended.told["checks"]) == [
        "machine", "environment", "tenants", "services", "keys", "connections", "database",
    ]  # fmt: skip
    listed = [problem for problems in ended.told["checks"].values() for problem in problems]
    assert listed == ended.told["problems"]
    assert {"note"} == {problem["severity"] for problem in listed}
    assert all(set(problem) == PROBLEM for problem in listed)


def test_the_doctor_ends_with_1_when_something_is_wrong(apollo: Apollo, places: Places) -> None:
    write_tenant(places, "warehouse: duckdb\n")

    ended = apollo("doctor", "--json", DBT_THREADS="many")
    shown = apollo("doctor", DBT_THREADS="many")

    assert (ended.code, ended.told["ok"], shown.code) == (1, False, 1)
    assert "DBT_THREADS" in [problem["where"] for problem in ended.told["checks"]["environment"]]
    assert "environment: something is wrong" in shown.out
    assert "machine: well" in shown.out


# ---- prepare and dbt. ----


def test_a_tenant_is_prepared_where_something_changed(apollo: Apollo, places: Places) -> None:
    write_tenant(places, "warehouse: duckdb\n")

    assert apollo("prepare").out == "shop: prepared for local\n"
    assert apollo("prepare").out == "shop: is current for local\n"
    assert apollo("prepare", "--force", "shop").out == "shop: prepared for local\n"


def test_what_cannot_be_prepared_ends_with_1_while_the_others_are(apollo: Apollo, places: Places) -> None:
    write_tenant(places, "warehose: x\n")
    write_tenant(places, "warehouse: duckdb\n", name="cellar")

    ended = apollo("prepare")

    assert (ended.code, ended.out) == (1, "cellar: prepared for local\n")
    assert "tenants/shop/tenant.yaml: warehose: there is no such field" in ended.err


def test_dbt_by_hand_ends_with_dbts_own_code(apollo: Apollo, places: Places) -> None:
    write_tenant(places, "warehouse: duckdb\n")

    well, wrong = apollo("dbt", "shop", "--", "--version"), apollo("dbt", "shop", "--", "nonsense")

    assert well.code == 0
    assert "1.11" in well.out
    assert wrong.code == 2
    assert "No such command 'nonsense'" in wrong.out + wrong.err


def test_a_wrong_setting_is_told_without_a_traceback(apollo: Apollo, places: Places) -> None:
    write_tenant(places)

    ended = apollo("dbt", "shop", "--", "build", DBT_TARGET="prod", DAGSTER_PG_URI=f"x://{SECRET}")

    assert ended.code == 1
    assert "DAGSTER_PG_URI" in ended.err
    assert "Traceback" not in ended.err
    assert SECRET not in ended.err
