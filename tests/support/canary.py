"""Secrets that a test plants, and every form in which one of them might be found again."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus


def forms_of(secret: str) -> set[str]:
    """A secret whole, by line, percent-encoded, as JSON, in base64 wherever it may begin, and as Python's `repr`."""
    found = set()
    for piece in {secret, *(line for line in secret.splitlines() if len(line) > 7)}:
        found |= {piece, quote(piece), quote(piece, safe=""), quote_plus(piece)}
        found |= {json.dumps(piece)[1:-1], repr(piece)[1:-1], repr(piece.encode())[2:-1]}
        for shift in range(3):
            # What stands beside it in the same base64 is not known: the letters that depend on that are left out.
            text = base64.b64encode(b"\0" * shift + piece.encode()).decode()
            found.add(text[4 if shift else 0 : len(text) // 4 * 4 - 4])
    return {form for form in found if len(form) > 7}


def found_in(text: str, secrets: list[str]) -> list[str]:
    """The forms of secrets that stand in a text."""
    return sorted(form for secret in secrets for form in forms_of(secret) if form in text)
