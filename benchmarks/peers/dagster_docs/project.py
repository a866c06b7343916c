"""Where the dbt project is: a file of its own, as the scaffold has it, for `prepare-and-package` to read."""

from pathlib import Path

from dagster_dbt import DbtProject

project = DbtProject(project_dir=Path(__file__).parent / "dbt_project")
project.prepare_if_dev()
