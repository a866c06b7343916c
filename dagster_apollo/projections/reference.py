"""What is generated: `.env.example` and the tables of the documentation, from the table of settings and the models of
`tenant.yaml` and `apollo.toml`; and, each by its own module, what follows from the topology and from benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dagster_apollo.fork import Fork, load_fork
from dagster_apollo.projections import compose, render_blueprint
from dagster_apollo.projections.measurements import execution_table
from dagster_apollo.settings import SETTINGS, Setting
from dagster_apollo.tenant import TenantConfig

_BEGIN = "<!-- generated: {} -->"
_END = "<!-- end of generated -->"
_EXECUTION = "benchmarks/execution.json"


def generated_files(root: Path) -> dict[Path, str]:
    """Every generated file's whole text, by its path; pages keep what people wrote around the generated part."""
    fork = load_fork(root)
    return {
        root / compose.FILE: compose.compose(fork),
        root / render_blueprint.FILE: render_blueprint.render_blueprint(fork),
        root / ".env.example": env_example(),
        root / "docs/settings.md": _placed(root / "docs/settings.md", "settings", settings_table()),
        root / "docs/going-live.md": _placed(root / "docs/going-live.md", "apollo.toml", fork_table()),
        **_measured(root),
        root / "docs/tenants.md": _placed(root / "docs/tenants.md", "tenant.yaml", tenant_table()),
    }


def _measured(root: Path) -> dict[Path, str]:
    """The page with measurements, in a fork that keeps the benchmarks."""
    results, page = root / _EXECUTION, root / "docs/execution.md"
    if not results.is_file():
        return {}
    return {page: _placed(page, _EXECUTION, execution_table(json.loads(results.read_text(encoding="utf-8"))))}


def env_example() -> str:
    """Every variable, commented out, with its default and its help."""
    lines = [
        "# What the project reads. Copy to .env, which Git ignores, and set what you need. A tenant's own value has",
        "# the folder's name in capitals and two underscores before it: DBT_WILLIAMGRANT__SNOWFLAKE_USER=...",
        "# Written by `make generated` from dagster_apollo/settings.py.",
    ]
    group = None
    for setting in SETTINGS:
        if setting.group != group:
            group = setting.group
            lines += ["", f"# --- {group}"]
        lines += ["", f"# {setting.help}{_of_choices(setting)}", f"#{setting.name}={_example(setting)}"]
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    """One row a setting."""
    rows = [
        (
            f"`{setting.name}`",
            _kind(setting),
            _default(setting.default),
            "yes" if setting.secret else "",
            "yes" if setting.per_tenant else "",
            ", ".join(setting.used_by),
            setting.help,
        )
        for setting in SETTINGS
    ]
    return _table(("variable", "type", "default", "secret", "per tenant", "read by", "what it is"), rows)


def fork_table() -> str:
    """One row a field of `apollo.toml`."""
    return _table(("field", "type", "default", "what it is"), list(_fields(Fork, "")))


def tenant_table() -> str:
    """One row a field of `tenant.yaml`, the nested ones with their path."""
    return _table(("field", "type", "default", "what it is"), list(_fields(TenantConfig, "")))


def _fields(model: type[BaseModel], path: str) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        nested = _nested(field)
        if nested:
            yield from _fields(nested, f"{path}{name}.")
        else:
            default = "required" if field.is_required() else f"`{json.dumps(field.default)}`"
            yield f"`{path}{name}`", _annotation(field), default, field.description or ""


def _nested(field: FieldInfo) -> type[BaseModel] | None:
    candidates = (field.annotation, *getattr(field.annotation, "__args__", ()))
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _annotation(field: FieldInfo) -> str:
    shown = str(field.annotation).replace("typing.", "")
    if isinstance(field.annotation, type) and "[" not in shown:
        shown = field.annotation.__name__
    return f"`{shown}`".replace("|", "or").replace(" or None", "")


def _kind(setting: Setting) -> str:
    if setting.kind == "choice":
        return " or ".join(f"`{choice}`" for choice in setting.choices)
    return f"{setting.kind} {setting.minimum}-{setting.maximum}" if setting.kind == "integer" else setting.kind


def _default(default: Any) -> str:
    if isinstance(default, Mapping):
        return ", ".join(f"{target}: {value}" for target, value in default.items())
    return "" if default is None else f"`{default}`"


def _example(setting: Setting) -> str:
    default = setting.default_for("local")
    return "" if default is None else str(default)


def _of_choices(setting: Setting) -> str:
    return f" One of: {', '.join(setting.choices)}." if setting.choices else ""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _placed(page: Path, name: str, content: str) -> str:
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN.format(name))
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the generated part {name!r}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def main() -> None:
    """Write all of them."""
    root = Path(__file__).resolve().parents[2]
    for file, text in generated_files(root).items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
