"""The dbt projects that are measured, generated: the same files for every side.

One of nine nodes (a seed, five models, three tests), and larger ones of views in chains of ten, of which every fifth
has a test. A project's models carry its name, so that the documented way, which gives asset keys no prefix, can serve
many.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

PEERS = Path(__file__).resolve().parents[1] / "peers" / "dagster_docs"
PROFILE = "generated"
THREADS = 4
SMALL = 9
_FIRST = "select 1 as id, 'x' as name, 2.5 as amount"
_PROJECT = """\
name: {name}
version: 1.0.0
profile: {profile}
flags:
  send_anonymous_usage_stats: false
"""


@dataclass(frozen=True)
class Project:
    """A generated dbt project.

    Attributes:
        name: its folder's and, where it is one, the tenant's.
        size: 9 for the small one, else the number of models.
    """

    name: str
    size: int

    @property
    def assets(self) -> list[str]:
        """The names of what a whole build materializes, in the order of the refs."""
        if self.size == SMALL:
            return [f"{self.name}_raw", *(f"{self.name}_m{number}" for number in range(5))]
        return [self._model(number) for number in range(self.size)]

    def one_model(self, turn: int) -> str:
        """A model in the middle, with parents and a test; in each turn another, where there are enough."""
        return (
            self.assets[self.size // 2 + 5 + 10 * (turn % (self.size // 20))] if self.size > SMALL else self.assets[3]
        )

    def write(self, folder: Path) -> Path:
        """Write the project's files; the folder is made."""
        files: dict[str, str] = {"dbt_project.yml": _PROJECT.format(name=self.name, profile=PROFILE)}
        files |= self._small() if self.size == SMALL else self._layered()
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return folder

    def _small(self) -> dict[str, str]:
        raw, *models = self.assets
        rows = "".join(f"{number},{number * 2}\n" for number in range(20))
        files = {f"seeds/{raw}.csv": f"id,amount\n{rows}"}
        for number, (parent, model) in enumerate(zip([raw, *models], models, strict=False)):
            config = "{{ config(materialized='table') }} " if number else ""
            files[f"models/{model}.sql"] = f"{config}select id, amount + {number} as amount from {_ref(parent)}\n"
        entries = [_entry(model, "id", is_tested=number % 2 == 0) for number, model in enumerate(models)]
        files["models/models.yml"] = "models:\n" + "".join(entries)
        return files

    def _layered(self) -> dict[str, str]:
        files, entries = {}, []
        for number in range(self.size):
            # The one before and the first of ten: a view of views, as deep as ten and never wider than ten rows.
            parents = sorted({number - 1, number // 10 * 10}) if number % 10 else []
            sources = [f"select id, name, amount from {_ref(self._model(parent))}" for parent in parents]
            source = " union all ".join(sources)
            files[f"models/{self._model(number)}.sql"] = source or _FIRST
            entries.append(_entry(self._model(number), "id", "name", "amount", is_tested=number % 5 == 0))
        files["models/models.yml"] = "models:\n" + "".join(entries)
        return files

    def _model(self, number: int) -> str:
        return f"{self.name}_m{number:04d}"


def tenants(count: int) -> list[Project]:
    """So many projects of 100 models."""
    return [Project(f"t{number:03d}", 100) for number in range(1, count + 1)]


def write_for_peers(project: Project, folder: Path) -> Path:
    """The project with the profile of the bare command and of the documented way."""
    project.write(folder)
    shutil.copy(PEERS / "profiles.yml", folder)
    return folder


def copy_peer(folder: Path) -> None:
    """The files of the documented way, into the folder whose `dbt_project` they serve."""
    for file in PEERS.glob("*.py"):
        shutil.copy(file, folder)


def _entry(model: str, *columns: str, is_tested: bool) -> str:
    described = "".join(
        f"      - name: {column}\n        description: The {column}.\n"
        + ("        data_tests: [not_null]\n" if is_tested and column == "id" else "")
        for column in columns
    )
    return f"  - name: {model}\n    description: A generated model.\n    columns:\n{described}"


def _ref(model: str) -> str:
    return f"{{{{ ref('{model}') }}}}"
