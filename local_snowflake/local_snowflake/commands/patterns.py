"""The LIKE of a SHOW command: % and _, without regard to case."""

from __future__ import annotations

import re


def like(pattern: str | None, text: str) -> bool:
    """Whether the text matches; no pattern matches everything."""
    if pattern is None:
        return True
    special = {"%": ".*", "_": "."}
    expression = "".join(special.get(character) or re.escape(character) for character in pattern)
    return re.fullmatch(expression, text, re.IGNORECASE | re.DOTALL) is not None
