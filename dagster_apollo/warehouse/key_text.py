"""Finds the private key in whatever a person pasted: a chain of small steps from text to the bytes of one key.

Snowflake's adapter reads exactly two shapes, PEM that begins with a dash and base64 of DER, and fails on the rest
with the words of an ASN.1 parser. Here every shape is brought back to the bytes, or refused with its remedy; whether
the bytes are a good key is `keypair`'s question.
"""

from __future__ import annotations

import base64
import codecs
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from urllib.parse import unquote

from dagster_apollo.warehouse import key_refusals as refusals
from dagster_apollo.warehouse.key_refusals import KeyRefusedError, Refusal

OPENSSH_MAGIC = b"openssh-key-v1\0"

_LAYERS_OF_BASE64 = 3  # base64 of base64 of a PEM was seen; what is wrapped more often is no accident
_SHORTEST_KEY_CHARACTERS = 100  # an RSA key of 512 bits has 450; what is shorter was meant to be replaced


@dataclass(frozen=True, repr=False)
class KeyBlock:
    """The bytes of one key, as they stand between BEGIN and END.

    Attributes:
        content: DER, an OpenSSH key, or (with `dek_info`) the ciphertext of a traditional encrypted key.
        dek_info: cipher and initialisation vector of `Proc-Type: 4,ENCRYPTED`; None for every other key.
        armoured: BEGIN or END stood in the text itself, not inside of base64.
    """

    content: bytes
    dek_info: str | None = None
    armoured: bool = False


# ---- From what was pasted to plain text: every step undoes one thing that clipboards, shells and editors do. ----


def without_invisible_characters(text: str) -> str:
    """Drop BOM, zero-width and control characters; make every kind of blank a space, every line separator a newline."""
    plain = {"Cf": "", "Zs": " ", "Zl": "\n", "Zp": "\n", "Cc": "", "Cs": ""}
    mended = text.removeprefix("ï»¿")  # a BOM that was read as Latin-1
    return "".join(
        char if (char.isascii() and char >= " ") or char in "\t\r\n" else plain.get(unicodedata.category(char), char)
        for char in mended
    )


def with_plain_newlines(text: str) -> str:
    """CRLF and CR alone become LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def without_escapes(text: str) -> str:
    r"""Undo JSON's, a shell's and an .env file's escapes, written once or several times: \n, \\n, \r\n, \/, \u003d."""
    meaning = {"n": "\n", "r": "\n", "t": " "}

    def unescaped(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code.startswith("u") else meaning.get(code, code)

    return re.sub(r"\\{1,8}(u00[0-9a-fA-F]{2}|[nrt/\"'\n])", unescaped, text)


def without_url_escapes(text: str) -> str:
    """%2B, %0A and their like; neither PEM nor base64 has a percent sign of its own."""
    return unquote(text)


def with_plain_dashes(text: str) -> str:
    """Word processors make one long dash of two hyphens."""
    return "".join("-" if unicodedata.category(char) == "Pd" or char == "\u2212" else char for char in text)


def without_quotes(text: str) -> str:
    """Straight, curly, angle and back quotes; none of them is part of a key."""
    return re.sub("[\"'`\u00b4\u2018-\u201f\u2039\u203a«»]", "", text).strip()


READING: tuple[Callable[[str], str], ...] = (
    without_invisible_characters,
    with_plain_newlines,
    without_escapes,
    without_url_escapes,
    with_plain_dashes,
    without_quotes,
)


def plain(text: str) -> str:
    """What was pasted after all steps of `READING`."""
    for step in READING:
        text = step(text)
    return text


_ASSIGNMENT = re.compile(
    r"\A(?:[\s{-]*(?:(?:export|set|env)\s+|\$env:)?[A-Za-z_][\w.-]{2,80}\s*[=:](?:\s*[|>][-+\d]*(?=\s))?\s*)+", re.I
)


def without_assignment(text: str) -> str:
    """Only the value of `NAME=value`, `export NAME=value`, `name: |` or `{name: value}`; other text as it is."""
    value, found = _ASSIGNMENT.subn("", text)
    return value.rstrip(",;} \n") if found else text


# ---- From plain text to bytes. ----

_MARK = re.compile(
    r"-{0,20}[ ]{0,9}(?P<edge>BEGIN|END)\s*(?P<label>"
    r"(?:(?:RSA|EC|DSA|ANY|OPENSSH|ENCRYPTED|SSH2|PGP|X509|TRUSTED|NEW)\s*)*"
    r"(?:PRIVATE\s*KEY|PUBLIC\s*KEY|CERTIFICATE(?:\s*REQUEST)?|PARAMETERS|PKCS7)(?:\s*BLOCK)?)[ ]*-*",
    re.I,
)
_DEK_INFO = re.compile(
    r"\s*Proc-Type:\s*4\s*,\s*ENCRYPTED\s*DEK-Info:\s*"
    r"(?P<cipher>[A-Z0-9-]+?)\s*,\s*(?P<iv>(?<=DES-CBC,)[0-9A-F]{16}|(?<=DES-EDE3-CBC,)[0-9A-F]{16}|[0-9A-F]{32}"
    r"|[0-9A-F]{16})",
    re.I,
)


@dataclass(frozen=True, repr=False)
class _Passage:
    """A stretch of text with a BEGIN line before it, an END line after it, or both."""

    label: str
    text: str
    ended: bool


def _passages(text: str) -> list[_Passage]:
    marks = list(_MARK.finditer(text))
    edges = [(None, 0, 0), *((mark, mark.start(), mark.end()) for mark in marks), (None, len(text), len(text))]
    found = []
    for (before, _, start), (after, stop, _) in pairwise(edges):
        begun = before is not None and before["edge"].upper() == "BEGIN"
        ended = after is not None and after["edge"].upper() == "END"
        mark = before if begun else after
        if mark is not None and (begun or ended):
            label = re.sub(r"\s+", "", mark["label"]).upper()
            found.append(_Passage(label, text[start:stop] if begun else without_assignment(text[start:stop]), ended))
    return found


def from_base64(text: str) -> bytes | None:
    """The bytes of base64, wrapped or not, URL-safe or not, padded or not; None if other characters are in it.

    A single character too many at the end, which a cut leaves, is dropped: the key's own length tells of the cut.
    """
    body = re.sub(r"[\s\\>|]", "", text)
    if body.startswith("nMII"):  # a shell ate the backslashes of \n: an n stands before each line of 64 and at the end
        body = re.sub(r"n(.{0,64})", r"\1", body.removesuffix("n"))
    body = body.rstrip("=").replace("-", "+").replace("_", "/")
    if not re.fullmatch(r"[A-Za-z0-9+/]+", body):
        return None
    body = body[:-1] if len(body) % 4 == 1 else body
    return base64.b64decode(body + "=" * (-len(body) % 4))


def as_text(data: bytes) -> str:
    """The text of a file or of decoded base64; PowerShell writes UTF-16, older editors Windows-1252."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if len(data) > 1 and not any(data[1::2]):
        return data.decode("utf-16-le", errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def is_key_content(data: bytes) -> bool:
    """Whether bytes begin like DER (a SEQUENCE that is no text) or like an OpenSSH key."""
    begins_as_sequence = data[:1] == b"0" and any(byte < 9 or byte > 126 for byte in data[1:8])
    return data.startswith(OPENSSH_MAGIC) or begins_as_sequence


def whole(data: bytes) -> bytes:
    """The same DER, if it is exactly as long as its outermost SEQUENCE says.

    Raises:
        KeyRefusedError: bytes are missing, or more follow.
    """
    if data.startswith(OPENSSH_MAGIC):
        return data
    size_bytes = data[1] & 0x7F if data[1] & 0x80 else 0
    declared = 2 + size_bytes + (int.from_bytes(data[2 : 2 + size_bytes]) if size_bytes else data[1])
    if size_bytes > 3:  # a key of 16 MB: these bytes are something else
        raise KeyRefusedError(refusals.DAMAGED)
    if len(data) < declared:
        raise KeyRefusedError(refusals.TRUNCATED, have=len(data), declared=declared)
    if len(data) > declared:
        raise KeyRefusedError(refusals.TRAILING, extra=len(data) - declared)
    return data


def _from_private_passage(passage: _Passage) -> KeyBlock:
    dek = _DEK_INFO.match(passage.text)
    body = passage.text[dek.end() :] if dek else passage.text
    content = from_base64(body)
    knows_its_length = not dek and not (content or b"").startswith(OPENSSH_MAGIC)
    if not passage.ended and not knows_its_length:
        raise KeyRefusedError(refusals.NO_END)
    if dek and content and len(content) % 8 == 0:
        return KeyBlock(content, f"{dek['cipher']},{dek['iv']}".upper(), armoured=True)
    if content and not dek and is_key_content(content):
        return KeyBlock(whole(content), armoured=True)
    if not passage.ended:
        raise KeyRefusedError(refusals.NO_END)
    raise KeyRefusedError(refusals.DAMAGED) if len(body) > _SHORTEST_KEY_CHARACTERS else what_it_looks_like(body)


def _from_pem(text: str) -> KeyBlock | None:
    passages = _passages(text)
    if not passages:
        return None
    private = {re.sub(r"\s", "", each.text): each for each in passages if "PRIVATEKEY" in each.label}
    labels = " ".join(each.label for each in passages)
    if "PGP" in labels:
        raise KeyRefusedError(refusals.PGP)
    if len(private) > 1:
        raise KeyRefusedError(refusals.TWO_KEYS)
    for passage in private.values():
        return _from_private_passage(passage)
    kinds = {
        "PUBLICKEY": refusals.PUBLIC_KEY,
        "CERTIFICATEREQUEST": refusals.OTHER_BLOCK,
        "CERTIFICATE": refusals.CERTIFICATE,
    }
    raise KeyRefusedError(next((refusal for kind, refusal in kinds.items() if kind in labels), refusals.OTHER_BLOCK))


def _from_text(text: str, layers: int) -> KeyBlock | None:
    text = plain(text)
    if (block := _from_pem(text)) is not None:
        return block
    content = from_base64(without_assignment(text))
    if content is None:
        return None
    if is_key_content(content):
        return KeyBlock(whole(content))
    block = _from_text(as_text(content), layers - 1) if layers else None
    return block and replace(block, armoured=False)


# ---- What can be said of text in which there is no key. ----

_CONTAINS: tuple[tuple[str, Refusal], ...] = (
    (r"\b(ssh-(rsa|dss|ed25519)|ecdsa-sha2-\S+)\s+AAAA", refusals.PUBLIC_KEY),
    (r"PuTTY-User-Key-File", refusals.PUTTY),
    (r"\bkty\s*:", refusals.JWK),
)
_IS: tuple[tuple[str, Refusal], ...] = (
    (r"", refusals.EMPTY),
    (r"\$\{?\w+\}?|\$\(.*\)|\{\{.*\}\}|(op|vault|arn|ref\+\w+|projects|https?)[:/]\S+", refusals.UNRESOLVED),
    (r"<.*|.*(\.\.\.|…|\*\*\*).*|[x.*_-]+|none|null|tbd|secret", refusals.PLACEHOLDER),
    (r".*(change.?me|your|replace|placeholder|todo|example|redacted|dummy|paste|insert).*", refusals.PLACEHOLDER),
    (r"(~|\.{1,2}|[a-z]:)?([/\\][^/\\\n]+)+|[^/\\\n]+([/\\][^/\\\n]+)*\.\w{2,4}", refusals.FILE_PATH),
)
_LONGEST_THAT_IS_NO_KEY = 300  # characters: longer texts hold words such as `your` by chance


def what_it_looks_like(text: str) -> KeyRefusedError:
    """The refusal of text that holds no key, as exact as can be; the text itself never becomes part of it.

    Escapes are left as they are, or a Windows path would lose its backslashes.
    """
    raw = without_quotes(without_invisible_characters(text)).strip()
    for candidate in (raw, without_assignment(raw)):
        for pattern, refusal in _CONTAINS:
            if re.search(pattern, candidate):
                return KeyRefusedError(refusal)
        for pattern, refusal in _IS:
            if len(candidate) < _LONGEST_THAT_IS_NO_KEY and re.fullmatch(pattern, candidate, re.I | re.S):
                return KeyRefusedError(refusal)
    if len(raw) < _SHORTEST_KEY_CHARACTERS:
        return KeyRefusedError(refusals.TOO_SHORT, length=len(raw))
    return KeyRefusedError(refusals.UNRECOGNISED)


def find_key(pasted: str | bytes) -> KeyBlock:
    """The one private key in a variable's text or a file's bytes.

    Raises:
        KeyRefusedError: there is none, or more than one, or only a part of one.
    """
    if isinstance(pasted, bytes) and is_key_content(pasted):
        return KeyBlock(whole(pasted))
    text = as_text(pasted) if isinstance(pasted, bytes) else pasted
    block = _from_text(text, _LAYERS_OF_BASE64)
    if block is None:
        raise what_it_looks_like(text)
    return block
