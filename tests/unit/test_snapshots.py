"""What a snapshot is known by, and what is read of one whatever a tenant wrote into it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from dagster_apollo.code_host.folder_watch import FolderWatch
from dagster_apollo.code_host.snapshots import (
    LARGEST_REPLY_BYTES,
    content_key,
    file_digest,
    read_entry,
    snapshot_key,
    write_entries,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "alpha"
    (made / "models").mkdir(parents=True)
    (made / "models" / "one.sql").write_text("select 1")
    (made / "definitions.py").write_text("x = 1")
    return made


def test_what_is_written_is_read_and_the_same_is_the_same_file(tmp_path: Path) -> None:
    replies = {"ListRepositories": b"one", "ExternalJob/repository/job": b"\x00\xff" * 1000}
    for name in ("first", "second"):
        with (tmp_path / name).open("wb") as out:
            write_entries(out.fileno(), replies)

    assert {name: read_entry(tmp_path / "first", name) for name in replies} == replies
    assert read_entry(tmp_path / "first", "GetCurrentImage") is None
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_a_reply_that_would_grow_when_it_is_read_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ListRepositories", b"0" * (1 << 20))
    (tmp_path / "text").write_text("no snapshot")

    for name in ("bomb", "text"):
        with pytest.raises(ValueError, match="snapshot"):
            read_entry(tmp_path / name, "ListRepositories")


def test_no_more_is_read_of_a_file_than_a_snapshot_has(tmp_path: Path) -> None:
    for name, size in (("whole", LARGEST_REPLY_BYTES), ("endless", 1 << 42)):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, size)

    assert len(file_digest(tmp_path / "whole")) == 24
    with pytest.raises(ValueError, match="endless has more than"):
        file_digest(tmp_path / "endless")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "models" / "one.sql").write_text("select 2"),
        lambda folder: (folder / "models" / "two.sql").touch(),
        lambda folder: (folder / "definitions.py").rename(folder / "renamed.py"),
    ],
)
def test_another_content_is_another_key(folder: Path, change: object) -> None:
    before = content_key(folder, b"manifest", "versions")
    change(folder)  # type: ignore[operator]

    assert content_key(folder, b"manifest", "versions") != before


def test_the_same_content_written_again_is_the_same_key(folder: Path) -> None:
    before = content_key(folder, b"manifest", "versions")
    os.utime(folder / "definitions.py", (1, 1))
    for name in ("target", "logs", "__pycache__", ".git"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("made by a build")

    assert content_key(folder, b"manifest", "versions") == before
    assert content_key(folder, b"another", "versions") != before
    assert content_key(folder, b"manifest", "others") != before


def test_a_variable_that_definitions_may_depend_on_is_in_the_key_and_a_secret_by_its_name_alone() -> None:
    base = {"DBT_TARGET": "prod", "ALPHA__API_TOKEN": "one", "PORT": "4000", "RENDER_INSTANCE_ID": "x"}
    before = snapshot_key("content", base, [])

    assert snapshot_key("content", {**base, "DBT_TARGET": "dev"}, []) != before
    assert snapshot_key("content", {**base, "ALPHA__COLOUR": "blue"}, []) != before
    assert snapshot_key("content", {name: text for name, text in base.items() if "TOKEN" not in name}, []) != before
    assert snapshot_key("content", base, ["refused"]) != before
    same = {**base, "ALPHA__API_TOKEN": "two", "PORT": "5000", "RENDER_INSTANCE_ID": "y", "HOSTNAME": "z"}
    assert snapshot_key("content", same, []) == before


def test_a_folder_that_somebody_saves_in_is_seen_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_apollo.code_host.folder_watch._SECONDS", 0.0)
    monkeypatch.setattr("dagster_apollo.code_host.folder_watch._SHARE", 1e9)
    watch = FolderWatch({"alpha": folder, "beta": folder.parent / "beta"})

    assert watch.changed() == []
    (folder / "models" / "two.sql").write_text("select 2")
    assert watch.changed() == ["alpha"]
    assert watch.changed() == []
    (folder / "models" / "two.sql").unlink()
    assert watch.changed() == ["alpha"]
