"""What is committed and derives from a declaration is what the declaration says today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dagster_apollo.dbt.workspace import repository_root
from dagster_apollo.projections.reference import generated_files
from dagster_apollo.settings import SETTINGS
from dagster_apollo.tenant import TenantConfig

ROOT = repository_root()


@pytest.mark.parametrize("file", sorted(generated_files(ROOT)), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_generated_file_is_what_it_is_generated_from(file: object) -> None:
    wanted = generated_files(ROOT)
    assert file.read_text(encoding="utf-8") == wanted[file], "run `make generated` and commit what it writes"  # type: ignore[attr-defined, index]


def test_every_setting_and_every_field_of_tenant_yaml_is_documented() -> None:
    settings = (ROOT / "docs/settings.md").read_text()
    assert [setting.name for setting in SETTINGS if f"| `{setting.name}` |" not in settings] == []
    tenants = (ROOT / "docs/tenants.md").read_text()
    assert [name for name in TenantConfig.model_fields if f"`{name}" not in tenants] == []


@pytest.mark.parametrize("generator", sorted(ROOT.glob("tenants/*/generate_*.py")), ids=lambda file: file.parent.name)
def test_the_data_of_a_tenant_is_what_its_generator_makes(generator: Path) -> None:
    checked = subprocess.run([sys.executable, str(generator), "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
