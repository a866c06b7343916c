"""`pulumi` and `docker` commands that write down what they were asked, and answer as little as a caller needs.

They show which words, which standard input and which order our side sends; what the real ones make of that is shown
where they are to be had.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What `docker build` answers for each stage.
IDS = {"host": "1" * 64, "full": "2" * 64}
_PROGRAM = """\
#!{python}
import json, os, pathlib, sys
folder = pathlib.Path({folder!r})
name, words = {name!r}, sys.argv[1:]
IDS = {ids!r}
text = sys.stdin.read() if not sys.stdin.isatty() else ""
kept = {{key: os.environ.get(key) for key in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE")}}
with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps({{"name": name, "words": words, "stdin": text, "environ": kept}}) + "\\n")
answers = json.loads((folder / "answers.json").read_text())
entries_file = folder / "entries.json"
entries = json.loads(entries_file.read_text()) if entries_file.exists() else {{}}
if name == "pulumi" and words[:2] == ["config", "--show-secrets"]:
    print(json.dumps({{key: {{"value": value}} for key, value in entries.items()}}))
elif name == "pulumi" and words[:2] == ["config", "set"]:
    if words[2] == "--secret":
        entries[words[3]] = text
    else:
        entries[words[2]] = words[3]
    entries_file.write_text(json.dumps(entries))
elif name == "pulumi" and words[:2] == ["config", "rm"]:
    del entries[words[2]]
    entries_file.write_text(json.dumps(entries))
elif name == "docker" and words[0] == "build":
    pathlib.Path(words[words.index("--iidfile") + 1]).write_text("sha256:" + IDS[words[words.index("--target") + 1]])
for begin, (code, answer) in answers.items():
    if " ".join([name, *words]).startswith(begin):
        print(answer)
        sys.exit(code)
"""


@dataclass(frozen=True)
class RecordedCommands:
    """The two commands in a folder for the PATH.

    Attributes:
        folder: where they are and write.
    """

    folder: Path

    @classmethod
    def install(cls, folder: Path, *names: str) -> RecordedCommands:
        """Write the commands into an empty folder."""
        folder.mkdir()
        (folder / "answers.json").write_text("{}")
        for name in names:
            file = folder / name
            file.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder), name=name, ids=IDS))
            file.chmod(0o755)
        return cls(folder)

    def answer(self, begin: str, text: str = "", code: int = 0) -> None:
        """What a command that begins with these words prints, and ends with."""
        file = self.folder / "answers.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), begin: [code, text]}))

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every call so far: `name`, `words`, `stdin`, `environ`."""
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def words(self, *begin: str) -> list[list[str]]:
        """The words of those calls that begin so."""
        all_words = [[call["name"], *call["words"]] for call in self.calls]
        return [words for words in all_words if words[: len(begin)] == list(begin)]

    @property
    def entries(self) -> dict[str, str]:
        """The stack's configuration, as `pulumi` was told it."""
        file = self.folder / "entries.json"
        found: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        return found
