"""`make lock`: requirements.txt and requirements-dev.txt from pyproject.toml, with a hash of every file.

Without an option, what pyproject.toml still allows stays as it is; `--upgrade` takes the newest of everything;
`--check` writes nothing and exits with 1 when the files are not what pyproject.toml says, with 2 when uv cannot tell.
"""

from __future__ import annotations

import argparse
import difflib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCTION, DEVELOPMENT = "requirements.txt", "requirements-dev.txt"
_SHOWN_LINES = 20
# One lock serves every Python and platform that pyproject.toml allows, and names no registry.
_OPTIONS = (
    "--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header",
    "--no-annotate", "--quiet",
)  # fmt: skip


def resolve(folder: Path, *, upgrade: bool) -> None:
    """Resolve anew into the two files of a folder; what stands in them is preferred unless `upgrade`.

    Raises:
        subprocess.CalledProcessError: uv found no solution (1) or could not look for one (2).
    """
    # The second is constrained by the first: what is tested is what production runs.
    for name, more in ((PRODUCTION, ()), (DEVELOPMENT, ("--extra", "dev", "-c", str(folder / PRODUCTION)))):
        command = [_uv(), "pip", "compile", "pyproject.toml", *_OPTIONS, *more, "-o", str(folder / name)]
        command += ["--upgrade"] if upgrade else []
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def _uv() -> str:
    return str(Path(sys.executable).parent / "uv")


def main(words: list[str]) -> int:
    """Lock or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--upgrade", action="store_true", help="take the newest of everything")
    what.add_argument("--check", action="store_true", help="only say whether the files are what pyproject.toml says")
    chosen = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="apollo-lock-") as made:
        folder = Path(made)
        for name in (PRODUCTION, DEVELOPMENT):
            if (ROOT / name).exists():
                shutil.copyfile(ROOT / name, folder / name)
        try:
            resolve(folder, upgrade=chosen.upgrade)
        except subprocess.CalledProcessError as error:
            return error.returncode
        stale = False
        for name in (PRODUCTION, DEVELOPMENT):
            new = (folder / name).read_text(encoding="utf-8")
            old = (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).exists() else ""
            if not chosen.check:
                (ROOT / name).write_text(new, encoding="utf-8")
            elif new != old:
                stale = True
                moved = difflib.unified_diff(old.splitlines(), new.splitlines(), name, "pyproject.toml", "", "", 0, "")
                sys.stderr.write("\n".join([*list(moved)[:_SHOWN_LINES], f"{name} is stale: run `make lock`.\n"]))
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
