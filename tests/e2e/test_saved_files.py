"""`apollo dev` follows what a person saves: that tenant alone is loaded anew, without a reload or a restart."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest

from tests.support.stack import COMMAND, Stack, StartStack, bare_environment
from tests.support.tenants import write_tenant
from tests.support.webserver import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(module_folder: Path, start_shared_stack: StartStack) -> Stack:
    tenants = module_folder / "tenants"
    for name in ("edited", "other"):
        write_tenant(tenants, name, {"first.sql": "select 1 as id"})
    environ = bare_environment(module_folder, APOLLO_TENANTS_DIR=str(tenants))
    return start_shared_stack(environ, command=[*COMMAND, "--no-build"]).wait_until_ready()


def served(stack: Stack) -> dict[str, str]:
    """What tells one version of a location from another, by its name."""
    said = (Path(stack.environ["APOLLO_STATE_DIR"]) / "logs" / "code.log").read_text()
    [directory] = re.findall(r"the code host's directory is on (\S+),", said)
    with urllib.request.urlopen(f"http://{directory}/locations", timeout=30) as answer:
        return {entry["name"]: entry["server_id"] for entry in json.load(answer)["locations"]}


def test_a_new_model_is_shown_and_built_and_no_other_tenant_is_loaded_anew(stack: Stack, module_folder: Path) -> None:
    before = served(stack)
    model = module_folder / "tenants" / "edited" / "models" / "second.sql"
    model.write_text("select * from {{ ref('first') }}")

    wait_until(lambda: "edited/second" in stack.webserver.assets("edited"), "the page shows the new model", 60)
    stack.webserver.finish(stack.webserver.launch("edited", "edited__build"))
    now = served(stack)
    assert now["edited"] != before["edited"]
    assert now["other"] == before["other"]


def test_what_is_broken_is_said_and_what_is_mended_is_served(stack: Stack, module_folder: Path) -> None:
    model = module_folder / "tenants" / "edited" / "models" / "first.sql"
    model.write_text("select {{ ref('nothing') }}")
    wait_until(lambda: "nothing" in (stack.webserver.locations()["edited"] or ""), "the page says what is wrong", 60)
    assert stack.webserver.locations()["other"] is None

    model.write_text("select 2 as id")
    wait_until(lambda: stack.webserver.locations()["edited"] is None, "it is served again", 60)
    stack.webserver.finish(stack.webserver.launch("edited", "edited__build"))
