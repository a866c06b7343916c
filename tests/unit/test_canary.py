"""The search for planted secrets finds them in every form: a test that searches with it can fail."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from tests.support.canary import found_in

SECRET = 'first line+/="of it\nsecond line of it'


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        "only the second line of it",
        json.dumps({"key": SECRET}),
        f"https://x/?key={quote(SECRET, safe='')}",
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"user:" + SECRET.encode() + b"!").decode(),
        base64.b64encode(b"a" + SECRET.encode()).decode(),
        repr({"key": SECRET}),
        repr(SECRET.encode()),
    ],
)
def test_a_secret_is_found(text: str) -> None:
    assert found_in(f"before {text} after", [SECRET]) != []


def test_what_is_not_there_is_not_found() -> None:
    assert found_in("nothing of the kind", [SECRET]) == []
