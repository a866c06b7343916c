"""Reads the one private key that a tenant logs in to Snowflake with, and proves it sound before anything starts.

`dbt parse` succeeds with any key at all, so a bad one would be found by the first run in production. Here it is read
from text or a file in whatever shape it was pasted (`key_text`), opened, and checked against Snowflake's terms.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dagster_apollo.errors import KeyPairError, Problem
from dagster_apollo.warehouse import key_refusals as refusals
from dagster_apollo.warehouse.key_refusals import KeyRefusedError, Refusal
from dagster_apollo.warehouse.key_text import OPENSSH_MAGIC, KeyBlock, find_key, plain, without_quotes

MINIMUM_BITS = 2048  # https://docs.snowflake.com/en/user-guide/key-pair-auth
MAXIMUM_FILE_BYTES = 64 * 1024  # an RSA key of 16384 bits is a PEM of 13 kB

_FIRST_LETTERS_OF_KEYS = ("MII", "LS0t", "TUlJ")  # base64 of DER, of a PEM, of base64 of DER

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "pem": "SNOWFLAKE_PRIVATE_KEY_PEM",
        "b64": "SNOWFLAKE_PRIVATE_KEY_B64",
        "path": "SNOWFLAKE_PRIVATE_KEY_PATH",
        "passphrase": "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
    }
)


@dataclass(frozen=True)
class PrivateKey:
    """An RSA key that Snowflake accepts. Equal keys are equal; repr, str and pickle never show a byte of it.

    Attributes:
        fingerprint: `SHA256:…` as DESC USER prints RSA_PUBLIC_KEY_FP: base64 of SHA-256 of the DER
            SubjectPublicKeyInfo.
        bits: the length of the modulus.
        notes: what a person should know although the key is usable: warnings and notes.
    """

    fingerprint: str
    bits: int
    notes: tuple[Problem, ...] = field(default=(), compare=False)
    _key: rsa.RSAPrivateKey = field(repr=False, compare=False, kw_only=True)

    @classmethod
    def of(cls, key: rsa.RSAPrivateKey, notes: tuple[Problem, ...] = ()) -> PrivateKey:
        """Wrap a key that has been loaded or made."""
        digest = hashlib.sha256(_public_der(key)).digest()
        return cls("SHA256:" + base64.b64encode(digest).decode(), key.key_size, notes, _key=key)

    def der_base64(self) -> str:
        """base64 of unencrypted PKCS#8 DER on one line, what dbt-snowflake takes as `private_key`. A secret."""
        return base64.b64encode(self._private_bytes(serialization.Encoding.DER)).decode()

    def pem(self) -> str:
        """Unencrypted PKCS#8 PEM. A secret."""
        return self._private_bytes(serialization.Encoding.PEM).decode()

    def encrypted_pem(self, passphrase: str) -> str:
        """Encrypted PKCS#8 PEM.

        Args:
            passphrase: not empty.
        """
        secret = serialization.BestAvailableEncryption(_passphrase_bytes(passphrase))
        return self._private_bytes(serialization.Encoding.PEM, secret).decode()

    def public_key_body(self) -> str:
        """The public key as `ALTER USER … SET RSA_PUBLIC_KEY` wants it: one line, without BEGIN and END."""
        return base64.b64encode(_public_der(self._key)).decode()

    def _private_bytes(
        self,
        encoding: serialization.Encoding,
        encryption: serialization.KeySerializationEncryption | None = None,
    ) -> bytes:
        protection = encryption or serialization.NoEncryption()
        return self._key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, protection)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is never pickled; read it again where it is needed")


def read_private_key(
    *,
    pem: str | None = None,
    b64: str | None = None,
    path: str | None = None,
    passphrase: str | None = None,
    names: Mapping[str, str] = VARIABLES,
) -> PrivateKey:
    """The key in the one of `pem`, `b64` and `path` that is set, whatever the shape it was pasted in.

    A blank value counts as not set. `~` in `path` is expanded.

    Args:
        pem: the text of a private key.
        b64: base64 of a private key's file, PEM or DER.
        path: a file with any of these, or with DER.
        passphrase: opens an encrypted key; beside a plain key it is ignored, with a warning.
        names: the variables' names for messages, by argument; a tenant's overrides have a prefix.

    Raises:
        KeyPairError: no key, or more than one, or one that Snowflake would refuse. No message holds any of it.
    """
    names = {**VARIABLES, **names}
    where = names["path"]
    try:
        source, pasted = _the_one_source({"pem": pem, "b64": b64, "path": path}, names)
        where = names[source]
        content, notes = _file_content(pasted, names) if source == "path" else (pasted, [])
        block = find_key(content)
        opened, more = _opened(block, passphrase, where, names)
        key = _within_terms(opened)
    except KeyRefusedError as refused:
        problem = refused.problem(where, names)
    else:
        return PrivateKey.of(key, (*notes, *_note_on_shape(source, block, names), *more))
    raise KeyPairError([problem])  # not inside `except`: an error's context can hold what was pasted


def _the_one_source(values: Mapping[str, str | None], names: Mapping[str, str]) -> tuple[str, str]:
    filled = [(source, text) for source, text in values.items() if text is not None and plain(text)]
    blank = [source for source, text in values.items() if text is not None and not plain(text)]
    match filled:
        case [one]:
            return one
        case []:
            where = " / ".join(names[source] for source in blank or values)
            raise KeyRefusedError(refusals.EMPTY if blank else refusals.NO_SOURCE, where=where)
        case _:
            where = " and ".join(names[source] for source, _ in filled)
            raise KeyRefusedError(refusals.SEVERAL_SOURCES, where=where)


def _note_on_shape(source: str, block: KeyBlock, names: Mapping[str, str]) -> list[Problem]:
    belongs = "pem" if block.armoured else "b64"
    if source in ("path", belongs):
        return []
    what = "holds a PEM, not base64 of one" if block.armoured else "holds base64, not a PEM"
    return [Problem(names[source], f"{what}; it was understood", f"Its place is {names[belongs]}", "note")]


# ---- Files. ----


def _file_content(path: str, names: Mapping[str, str]) -> tuple[bytes | str, list[Problem]]:
    """The bytes of a key's file, and a warning if anyone may read it; the text itself if it is a key, not a path."""
    named = without_quotes(path)
    if "\n" in named or "BEGIN" in named or len(named) > 255 or named.startswith(_FIRST_LETTERS_OF_KEYS):
        remedy = f"Its place is {names['pem']} or {names['b64']}"
        return path, [Problem(names["path"], "holds a key, not a path; it was understood", remedy, "note")]
    file = Path(named)
    # What has neither slash nor dot may be a piece of a key.
    shown = file if named.startswith(("/", "~")) or "." in named else "the file that it names"
    reason = "it is not a possible path"  # as with a NUL in it, or ~ without a home
    try:
        file = file.expanduser()
        found = file.stat()
        if stat.S_ISDIR(found.st_mode):
            raise KeyRefusedError(refusals.FILE_IS_DIRECTORY, file=shown)
        if not stat.S_ISREG(found.st_mode):  # opening a named pipe would wait for ever
            raise KeyRefusedError(refusals.FILE_NOT_REGULAR, file=shown)
        if (size := found.st_size) > (limit := MAXIMUM_FILE_BYTES):
            raise KeyRefusedError(refusals.FILE_TOO_LARGE, file=shown, size_bytes=size, limit_bytes=limit)
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise KeyRefusedError(refusals.FILE_NOT_FOUND, file=shown) from None
    except OSError as error:
        raise KeyRefusedError(refusals.FILE_UNREADABLE, file=shown, reason=error.strerror or reason) from None
    except (ValueError, RuntimeError):
        raise KeyRefusedError(refusals.FILE_UNREADABLE, file=shown, reason=reason) from None
    if not content.strip():
        raise KeyRefusedError(refusals.FILE_EMPTY, file=shown)
    if found.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        what = f"any user of this machine can read {shown}"
        return content, [Problem(names["path"], what, f"chmod 600 {shown}", "warning")]
    return content, []


# ---- From bytes to a key. ----


def _opened(
    block: KeyBlock, passphrase: str | None, where: str, names: Mapping[str, str]
) -> tuple[object, list[Problem]]:
    """The key object, of whatever kind, and what there is to say of the passphrase."""
    load = _loader(block)
    try:
        key = load(None)
    except TypeError:  # cryptography's word for: it is encrypted
        return _decrypted(load, passphrase, where, names)
    except UnsupportedAlgorithm:
        raise KeyRefusedError(refusals.NOT_RSA, kind="unknown") from None
    except ValueError:
        raise KeyRefusedError(_what_der_is(block.content)) from None
    if not passphrase:
        return key, []
    what = f"is set, but the private key in {where} is not encrypted; it was ignored"
    return key, [Problem(names["passphrase"], what, "Remove it, or encrypt the key", "warning")]


def _decrypted(
    load: Callable[[bytes | None], object], passphrase: str | None, where: str, names: Mapping[str, str]
) -> tuple[object, list[Problem]]:
    about = {"where": names["passphrase"], "source": where}
    if passphrase is None:
        raise KeyRefusedError(refusals.PASSPHRASE_MISSING, **about)
    cleaned = without_quotes(passphrase)
    note = Problem(names["passphrase"], "has quotes or blanks around it; it opened without", "Remove them", "note")
    for attempt, notes in {cleaned: [note], passphrase: []}.items():
        try:
            if attempt:
                return load(_passphrase_bytes(attempt)), notes
        except UnsupportedAlgorithm:
            raise KeyRefusedError(refusals.UNSUPPORTED_ENCRYPTION) from None
        except ValueError as error:  # wrong, but for a cipher that cryptography calls unknown
            if "unknown" in str(error).lower():
                raise KeyRefusedError(refusals.UNSUPPORTED_ENCRYPTION) from None
    raise KeyRefusedError(refusals.PASSPHRASE_WRONG if cleaned else refusals.PASSPHRASE_EMPTY, **about)


def _loader(block: KeyBlock) -> Callable[[bytes | None], object]:
    """The function that makes a key of these bytes, given a passphrase or None."""

    def pem(label: str, headers: str = "") -> bytes:
        body = base64.encodebytes(block.content).decode()
        return f"-----BEGIN {label}-----\n{headers}{body}-----END {label}-----\n".encode()

    if block.dek_info:
        text = pem("RSA PRIVATE KEY", f"Proc-Type: 4,ENCRYPTED\nDEK-Info: {block.dek_info}\n\n")
        return lambda passphrase: serialization.load_pem_private_key(text, passphrase)
    if block.content.startswith(OPENSSH_MAGIC):
        text = pem("OPENSSH PRIVATE KEY")
        return lambda passphrase: serialization.load_ssh_private_key(text, passphrase)
    return lambda passphrase: serialization.load_der_private_key(block.content, passphrase)


def _what_der_is(content: bytes) -> Refusal:
    """What DER of the right length is, if it is no private key."""
    others: tuple[tuple[Callable[[bytes], object], Refusal], ...] = (
        (serialization.load_der_public_key, refusals.PUBLIC_KEY),
        (x509.load_der_x509_certificate, refusals.CERTIFICATE),
        (x509.load_der_x509_csr, refusals.OTHER_BLOCK),
    )
    for load, refusal in others:
        with contextlib.suppress(ValueError, UnsupportedAlgorithm):
            load(content)
            return refusal
    # PKCS#12 begins with its version, 3; PKCS#8 and PKCS#1 with 0 or 1.
    return refusals.PKCS12 if b"\x02\x01\x03" in content[2:8] else refusals.DAMAGED


def _within_terms(key: object) -> rsa.RSAPrivateKey:
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyRefusedError(refusals.NOT_RSA, kind=type(key).__name__.removesuffix("PrivateKey"))
    if key.key_size < MINIMUM_BITS:
        raise KeyRefusedError(refusals.TOO_SMALL, bits=key.key_size)
    return key


def _public_der(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _passphrase_bytes(passphrase: str) -> bytes:
    return passphrase.encode(errors="surrogateescape")  # as os.environ decodes what is no UTF-8
