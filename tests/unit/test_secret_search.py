"""The search of whole disks and databases comes upon a secret however it lies there, and says when it read nothing."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.secret_search import SecretSearch

SECRET, MARKER = 'planted-0123456789+/="&\nplanted on a second line', "markerabcdef"


@pytest.fixture
def search(tmp_path: Path) -> SecretSearch:
    return SecretSearch({"KEY": SECRET, "other": "planted-and-nowhere"}, MARKER, tmp_path)


def archive(**files: bytes) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as opened:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    made.seek(0)
    return made


@pytest.mark.parametrize(
    "content",
    [
        f"before {SECRET} after".encode(),
        b"\0\xff\0planted on a second line\0",
        json.dumps({"key": SECRET}).encode(),
        base64.b64encode(b"user:" + SECRET.encode()),
    ],
)
def test_a_secret_is_found_by_its_name_also_where_it_is_cut_in_two(search: SecretSearch, content: bytes) -> None:
    middle = len(content) // 2

    found = search.content([content[:middle], content[middle:]])

    assert found.secrets.keys() == {"KEY"}
    assert not found.marker


def test_a_secret_is_found_in_an_archive_in_a_compressed_file_and_in_a_name(search: SecretSearch) -> None:
    assert search.archive(archive(plain=SECRET.encode())).secrets
    assert search.archive(archive(layer=gzip.compress(b"\0" * 3_000_000 + SECRET.encode()))).secrets
    assert search.archive(archive(**{"planted on a second line": b""})).secrets
    assert not search.archive(archive(plain=b"nothing")).secrets


@pytest.mark.parametrize("packed", [bytes, zlib.compress, gzip.compress])
def test_a_secret_is_found_in_the_digits_of_a_dump(search: SecretSearch, packed: Callable[[bytes], bytes]) -> None:
    content = packed(SECRET.encode())

    assert search.dump(b"1\t\\\\x" + content.hex().encode() + b"\tx\n").secrets
    assert not search.dump(b"1\t\\\\x6e6f7468696e67\tx\n").secrets


def test_a_search_that_did_not_reach_the_marker_is_no_search(search: SecretSearch) -> None:
    with pytest.raises(AssertionError, match="did not reach"):
        search.text("nothing").nothing_but_the_marker()
    with pytest.raises(AssertionError, match="KEY"):
        search.text(MARKER, SECRET).nothing_but_the_marker()
    assert search.text(f"only {MARKER}").nothing_but_the_marker()


def test_what_would_be_found_anywhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="too short"):
        SecretSearch({"PIN": "1234"}, MARKER, tmp_path)
