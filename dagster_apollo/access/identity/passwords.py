"""Passwords: hashed with argon2id, compared in the same time whether or not there is such a user, and judged.

Nothing here keeps a password. What slows guessing down is `throttle.py`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 12, 1000
# OWASP's Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane. A webserver of 512 MB survives several at once.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
# What the most common long passwords are made of.
_COMMON = re.compile(
    r"password|passwort|passw0rd|l[o0]senord|admin|welcome|letmein|iloveyou|qwert[yz]|asdf|zxcv|dagster|apollo|snowflake"
    r"|changeme|secret|login|monkey|dragon|football|princess|sunshine|(19|20)\d\d"
)
_RUNS = "abcdefghijklmnopqrstuvwxyz 01234567890123456789 qwertyuiopasdfghjklzxcvbnm"


def hash_password(password: str) -> str:
    """The hash that the access file keeps."""
    return _HASHER.hash(_normal(password))


def matches(password_hash: str | None, password: str) -> bool:
    """Whether this is the password of that hash; without a hash it takes as long, and the answer is no."""
    try:
        fits = _HASHER.verify(password_hash or _nobody(), _normal(password))
    except (VerificationError, InvalidHashError):
        return False
    return fits and password_hash is not None


def is_hash(text: str) -> bool:
    """Whether this is a hash as `hash_password` makes them."""
    return text.startswith("$argon2id$") and text.count("$") == 5


def weakness(name: str, password: str) -> str | None:
    """Why a password is refused; None: it is not.

    Length is what counts (NIST SP 800-63B, 5.1.1.2); no kind of character is asked for. Refused besides is what
    guessing begins with: the name, the common words, rows of the alphabet and of the keyboard, few characters repeated.
    """
    if len(password) < SHORTEST:
        return f"it has {len(password)} characters, fewer than {SHORTEST}"
    if len(password) > LONGEST:
        return f"it has more than {LONGEST} characters"
    plain = _normal(password).casefold()
    for part in re.split(r"[^a-z0-9]+", name.casefold()):
        if len(part) >= 4:
            plain = plain.replace(part, "")
    left = _without_rows(_COMMON.sub("", plain))
    if len(left) < 6 or len(set(left)) < 5:
        return "what is left of it without names, common words, rows and repetitions is too little"
    return None


def _without_rows(text: str) -> str:
    """A text without what follows from the character before: `1234`, `qwer`, `aaaa`."""
    kept = text[:1]
    for before, now in pairwise(text):
        if before != now and before + now not in _RUNS and now + before not in _RUNS:
            kept += now
    return kept


def _normal(password: str) -> str:
    """The same password typed on another keyboard has the same bytes (RFC 8265, 4.2)."""
    return unicodedata.normalize("NFC", password)


@cache
def _nobody() -> str:
    return _HASHER.hash("nobody's")
