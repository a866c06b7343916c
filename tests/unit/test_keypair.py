"""Every shape in which people paste a private key is understood, or refused with what to do about it."""

from __future__ import annotations

import base64
import copy
import datetime
import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
import textwrap
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from dbt.adapters.snowflake.auth import private_key_from_string

from dagster_apollo.errors import KeyPairError
from dagster_apollo.warehouse.keypair import MAXIMUM_FILE_BYTES, PrivateKey, read_private_key

PASSPHRASE = "correct-horse-Battery"
OPENSSL = shutil.which("openssl")
NAMES = {
    "pem": "DBT_WILLIAMGRANT__SNOWFLAKE_PRIVATE_KEY_PEM",
    "b64": "DBT_WILLIAMGRANT__SNOWFLAKE_PRIVATE_KEY_B64",
    "path": "DBT_WILLIAMGRANT__SNOWFLAKE_PRIVATE_KEY_PATH",
    "passphrase": "DBT_WILLIAMGRANT__SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
}


def b64(data: bytes | str) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def wrapped(text: str, width: int = 64) -> str:
    return "\n".join(textwrap.wrap(text, width))


@dataclass(frozen=True)
class Keys:
    """One RSA key in all its forms, and keys of other kinds; made for one test session, and kept in memory."""

    key: rsa.RSAPrivateKey
    folder: Path

    def private(self, encoding: Encoding, form: PrivateFormat, passphrase: str | None = None) -> bytes:
        protection = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        return self.key.private_bytes(encoding, form, protection)

    @property
    def pem(self) -> str:
        return self.private(Encoding.PEM, PrivateFormat.PKCS8).decode()

    @property
    def pkcs1(self) -> str:
        return self.private(Encoding.PEM, PrivateFormat.TraditionalOpenSSL).decode()

    @property
    def openssh(self) -> str:
        return self.private(Encoding.PEM, PrivateFormat.OpenSSH).decode()

    @property
    def encrypted(self) -> str:
        return self.private(Encoding.PEM, PrivateFormat.PKCS8, PASSPHRASE).decode()

    @property
    def proc_type(self) -> str:
        return self.private(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, PASSPHRASE).decode()

    @property
    def der(self) -> bytes:
        return self.private(Encoding.DER, PrivateFormat.PKCS8)

    @property
    def body(self) -> str:
        return "".join(self.pem.splitlines()[1:-1])

    @property
    def public_pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def certificate(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dbt")])
        day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        builder = x509.CertificateBuilder(name, name, self.key.public_key(), 1, day, day + datetime.timedelta(days=1))
        return builder.sign(self.key, hashes.SHA256())

    def openssl(self, *arguments: str, given: str | None = None) -> bytes:
        if OPENSSL is None:
            pytest.skip("openssl is not on this machine")
        text = (given or self.pem).encode()
        return subprocess.run([OPENSSL, *arguments], input=text, check=True, capture_output=True).stdout

    def file(self, content: bytes | str, mode: int = 0o600) -> str:
        path = self.folder / hashlib.sha256(repr(content).encode()).hexdigest()[:8]
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return str(path)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(rsa.generate_private_key(65537, 2048), tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def fingerprint(keys: Keys) -> str:
    """As Snowflake's documentation has it computed, by openssl where there is one."""
    if OPENSSL:
        public = keys.openssl("pkey", "-pubout", "-outform", "DER")
    else:
        public = keys.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + b64(hashlib.sha256(public).digest())


def mangled_dashes(text: str, dashes: str) -> str:
    return text.replace("-----", dashes)


Shape = Callable[[Keys], dict[str, str]]

AS_TEXT: dict[str, Callable[[Keys], str]] = {
    "PEM": lambda k: k.pem,
    "without a final newline": lambda k: k.pem.rstrip("\n"),
    "CRLF": lambda k: k.pem.replace("\n", "\r\n"),
    "CR alone": lambda k: k.pem.replace("\n", "\r"),
    "newlines turned into spaces": lambda k: k.pem.replace("\n", " "),
    "newlines turned into tabs": lambda k: k.pem.replace("\n", "\t"),
    "newlines removed": lambda k: k.pem.replace("\n", ""),
    "all blanks removed": lambda k: re.sub(r"\s", "", k.pem),
    "blank lines between": lambda k: k.pem.replace("\n", "\n\n"),
    r"literal \n": lambda k: k.pem.replace("\n", r"\n"),
    r"literal \\n": lambda k: k.pem.replace("\n", r"\\n"),
    r"literal \r\n": lambda k: k.pem.replace("\n", r"\r\n"),
    r"literal \\r\\n": lambda k: k.pem.replace("\n", r"\\r\\n"),
    r"literal \n and real newlines": lambda k: k.pem.replace("\n", "\\n\n"),
    "a backslash at the end of each line": lambda k: k.pem.replace("\n", "\\\n"),
    r"\n whose backslashes a shell ate": lambda k: k.pem.replace("\n", "n"),
    "double quotes": lambda k: f'"{k.pem}"',
    "single quotes": lambda k: f"'{k.pem}'",
    "backticks": lambda k: f"```\n{k.pem}```",
    "smart quotes": lambda k: f"\u201c{k.pem}\u201d",
    "smart single quotes": lambda k: f"\u2018{k.pem}\u2019",
    "quotes around each line": lambda k: "\n".join(f'"{line}"' for line in k.pem.splitlines()),
    "quotes in quotes": lambda k: f"'\"{k.pem}\"'",
    "one quote lost": lambda k: f'"{k.pem}',
    "leading blanks": lambda k: f"   {k.pem}",
    "leading and trailing newlines": lambda k: f"\n\n{k.pem}\n\n",
    "BOM": lambda k: f"\ufeff{k.pem}",
    "BOM read as Latin-1": lambda k: f"ï»¿{k.pem}",
    "zero-width spaces": lambda k: k.pem.replace("\n", "\u200b\n"),
    "non-breaking spaces": lambda k: k.pem.replace(" ", "\u00a0").replace("\n", "\u00a0\n"),
    "line separators": lambda k: k.pem.replace("\n", "\u2028"),
    "soft hyphens": lambda k: k.pem.replace("\n", "\u00ad\n"),
    "YAML indentation": lambda k: textwrap.indent(k.pem, "    "),
    "YAML block remains": lambda k: "|\n" + textwrap.indent(k.pem, "  "),
    "YAML block with its key": lambda k: "private_key: |-\n" + textwrap.indent(k.pem, "  "),
    "quoted in a mail": lambda k: textwrap.indent(k.pem, "> "),
    "JSON string": lambda k: json.dumps(k.pem),
    "JSON string, escaped slashes": lambda k: json.dumps(k.pem).replace("/", r"\/"),
    "JSON string in a JSON string": lambda k: json.dumps(json.dumps(k.pem)),
    "JSON object": lambda k: json.dumps({"private_key": k.pem}),
    "JSON, ASCII-safe": lambda k: json.dumps(k.pem).replace("+", r"\u002b").replace("=", r"\u003d"),
    "URL-encoded": lambda k: urllib.parse.quote(k.pem),
    "NAME=value": lambda k: f"SNOWFLAKE_PRIVATE_KEY_PEM={k.pem}",
    "export NAME='value'": lambda k: f"export SNOWFLAKE_PRIVATE_KEY_PEM='{k.pem}'",
    "PKCS#1": lambda k: k.pkcs1,
    "PKCS#1 without newlines": lambda k: k.pkcs1.replace("\n", ""),
    "OpenSSH's format, RSA": lambda k: k.openssh,
    "one em dash for two hyphens": lambda k: mangled_dashes(k.pem, "——-"),
    "four dashes": lambda k: mangled_dashes(k.pem, "----"),
    "en dashes": lambda k: mangled_dashes(k.pem, "\u2013" * 5),
    "dashes lost": lambda k: mangled_dashes(k.pem, ""),
    "blanks beside the dashes": lambda k: k.pem.replace("-----BEGIN", "----- BEGIN").replace("KEY-----", "KEY -----"),
    "lower case BEGIN and END": lambda k: k.pem.replace("BEGIN PRIVATE KEY", "begin private key").replace(
        "END PRIVATE KEY", "End Private Key"
    ),
    "the label of another format": lambda k: k.pem.replace("PRIVATE KEY", "RSA PRIVATE KEY"),
    "PKCS#1 under the label of PKCS#8": lambda k: k.pkcs1.replace("RSA PRIVATE KEY", "PRIVATE KEY"),
    "BEGIN line missing": lambda k: k.pem.split("\n", 1)[1],
    "END line missing, all else there": lambda k: k.pem.split("-----END")[0],
    "the public key pasted with it": lambda k: k.pem + k.public_pem,
    "its certificate pasted with it": lambda k: k.certificate.public_bytes(Encoding.PEM).decode() + k.pem,
    "pasted twice": lambda k: k.pem + k.pem,
    "what openssl pkcs12 prints above it": lambda k: "Bag Attributes\n    localKeyID: 54 69\nKey Attributes\n" + k.pem,
    "body alone": lambda k: wrapped(k.body),
    "body on one line": lambda k: k.body,
    "body of PKCS#1": lambda k: "".join(k.pkcs1.splitlines()[1:-1]),
    "base64 of the PEM": lambda k: b64(k.pem),
    "base64 of the PEM, wrapped": lambda k: wrapped(b64(k.pem), 76),
    "base64 of the PEM, CRLF": lambda k: b64(k.pem.replace("\n", "\r\n")),
    "base64 of the PEM, with BOM": lambda k: b64("\ufeff" + k.pem),
    "base64 of UTF-16, as PowerShell makes it": lambda k: b64(k.pem.encode("utf-16-le")),
    "base64 of base64 of the PEM": lambda k: b64(b64(k.pem)),
    "base64 of base64 of base64 of the PEM": lambda k: b64(wrapped(b64(wrapped(b64(k.pem), 76)), 76)),
    "base64 of base64 of DER": lambda k: b64(b64(k.der)),
    "base64 of DER": lambda k: b64(k.der),
    "base64 of DER, wrapped": lambda k: wrapped(b64(k.der), 76),
    r"base64 of DER, wrapped by literal \n": lambda k: wrapped(b64(k.der), 76).replace("\n", r"\n"),
    "base64 of DER, URL-safe": lambda k: base64.urlsafe_b64encode(k.der).decode(),
    "base64 of DER, URL-safe without padding": lambda k: base64.urlsafe_b64encode(k.der).decode().rstrip("="),
    "base64 of DER, without padding": lambda k: b64(k.der).rstrip("="),
    "base64 of DER, quoted": lambda k: f'"{b64(k.der)}"',
    "base64 of DER, NAME=value": lambda k: f"SNOWFLAKE_PRIVATE_KEY_B64={b64(k.der)}",
    "base64 of DER, NAME: value": lambda k: f"  SNOWFLAKE_PRIVATE_KEY_B64: '{b64(k.der)}'\n",
    "base64 of DER, with export and quotes": lambda k: f'export SNOWFLAKE_PRIVATE_KEY_B64="{b64(k.der)}"\n',
    "base64 of the PEM, JSON object": lambda k: json.dumps({"SNOWFLAKE_PRIVATE_KEY_B64": b64(k.pem)}),
    "base64 of the OpenSSH file": lambda k: b64(k.openssh),
}

ENCRYPTED: dict[str, Callable[[Keys], str]] = {
    "PKCS#8": lambda k: k.encrypted,
    "PKCS#8 without newlines": lambda k: k.encrypted.replace("\n", ""),
    "base64 of PKCS#8": lambda k: b64(k.encrypted),
    "base64 of DER": lambda k: b64(k.private(Encoding.DER, PrivateFormat.PKCS8, PASSPHRASE)),
    "the label of a plain key": lambda k: k.encrypted.replace("ENCRYPTED PRIVATE", "PRIVATE"),
    "Proc-Type": lambda k: k.proc_type,
    "Proc-Type, CRLF": lambda k: k.proc_type.replace("\n", "\r\n"),
    r"Proc-Type, literal \n": lambda k: k.proc_type.replace("\n", r"\n"),
    "Proc-Type, newlines turned into spaces": lambda k: k.proc_type.replace("\n", " "),
    "Proc-Type, newlines removed": lambda k: k.proc_type.replace("\n", ""),
    "Proc-Type, indented": lambda k: textwrap.indent(k.proc_type, "  "),
    "Proc-Type, base64": lambda k: b64(k.proc_type),
    "Proc-Type, 3DES, newlines removed": lambda k: (
        k.openssl("rsa", "-traditional", "-des3", "-passout", f"pass:{PASSPHRASE}").decode().replace("\n", "")
    ),
    "3DES in PKCS#8": lambda k: k.openssl("pkcs8", "-topk8", "-v2", "des3", "-passout", f"pass:{PASSPHRASE}").decode(),
    "scrypt in PKCS#8": lambda k: k.openssl("pkcs8", "-topk8", "-scrypt", "-passout", f"pass:{PASSPHRASE}").decode(),
}


@pytest.mark.parametrize("variable", ["pem", "b64"])
@pytest.mark.parametrize("shape", AS_TEXT)
def test_a_key_is_understood_in_either_variable(shape: str, variable: str, keys: Keys, fingerprint: str) -> None:
    key = read_private_key(**{variable: AS_TEXT[shape](keys)}, names=NAMES)

    assert (key.fingerprint, key.bits) == (fingerprint, 2048)
    assert key.der_base64() == b64(keys.der)


@pytest.mark.parametrize("shape", AS_TEXT)
def test_a_file_may_hold_the_same_shapes(shape: str, keys: Keys, fingerprint: str) -> None:
    assert read_private_key(path=keys.file(AS_TEXT[shape](keys))).fingerprint == fingerprint


@pytest.mark.parametrize("shape", ENCRYPTED)
def test_an_encrypted_key_is_opened_with_its_passphrase(shape: str, keys: Keys, fingerprint: str) -> None:
    key = read_private_key(pem=ENCRYPTED[shape](keys), passphrase=PASSPHRASE)

    assert key.fingerprint == fingerprint
    assert "passphrase" not in " ".join(note.what for note in key.notes)


@pytest.mark.parametrize("content", [lambda k: k.der, lambda k: k.pem.encode("utf-16"), lambda k: k.pem.encode()])
def test_a_file_may_hold_der_or_any_unicode(content: Callable[[Keys], bytes], keys: Keys, fingerprint: str) -> None:
    key = read_private_key(path=keys.file(content(keys)))

    assert (key.fingerprint, key.notes) == (fingerprint, ())


def test_a_file_written_by_an_old_editor_may_have_its_dashes(keys: Keys, fingerprint: str) -> None:
    content = mangled_dashes(keys.pem, "—").encode("cp1252")

    assert read_private_key(path=keys.file(content)).fingerprint == fingerprint


def test_a_tilde_in_a_path_is_the_home_folder(keys: Keys, fingerprint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = Path(keys.file(keys.pem)).name
    monkeypatch.setenv("HOME", str(keys.folder))

    assert read_private_key(path=f"~/{name}").fingerprint == fingerprint


# ---- What comes out. ----


@pytest.mark.parametrize("shape", ["PEM", "PKCS#1", "OpenSSH's format, RSA", "base64 of the PEM"])
def test_dbt_snowflake_takes_what_comes_out_as_the_same_key(shape: str, keys: Keys) -> None:
    der = read_private_key(pem=AS_TEXT[shape](keys)).der_base64()

    assert private_key_from_string(der).private_numbers() == keys.key.private_numbers()
    assert "\n" not in der


def test_an_encrypted_key_comes_out_decrypted(keys: Keys) -> None:
    key = read_private_key(pem=keys.encrypted, passphrase=PASSPHRASE)

    assert private_key_from_string(key.der_base64()).private_numbers() == keys.key.private_numbers()


def test_the_pem_that_comes_out_is_openssls_own(keys: Keys) -> None:
    assert read_private_key(b64=b64(keys.der)).pem().encode() == keys.openssl("pkcs8", "-topk8", "-nocrypt")


def test_the_public_key_is_what_alter_user_wants(keys: Keys) -> None:
    assert read_private_key(pem=keys.pem).public_key_body() == "".join(keys.public_pem.splitlines()[1:-1])


def test_a_key_never_shows_itself(keys: Keys) -> None:
    key = read_private_key(pem=keys.pem)

    assert windows(keys.body).isdisjoint(windows(f"{key!r} {key} {key!s} {vars(key)} {[key]}"))
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(key)
    with pytest.raises(TypeError, match="never pickled"):
        copy.copy(key)


def test_equal_keys_are_equal_whatever_their_shape(keys: Keys) -> None:
    assert len({read_private_key(pem=keys.pem), read_private_key(pem=b64(keys.der))}) == 1


# ---- Notes. ----


def notes(key: PrivateKey) -> list[tuple[str, str]]:
    return [(note.severity, f"{note}") for note in key.notes]


@pytest.mark.parametrize("variable", ["pem", "b64"])
def test_a_key_in_its_own_shape_needs_no_note(variable: str, keys: Keys) -> None:
    own = {"pem": keys.pem, "b64": b64(keys.pem)}[variable]

    assert read_private_key(**{variable: own}, names=NAMES).notes == ()


def test_a_pem_in_the_variable_for_base64_is_noted(keys: Keys) -> None:
    [(severity, text)] = notes(read_private_key(b64=keys.pem, names=NAMES))

    assert severity == "note"
    assert text.startswith(NAMES["b64"])
    assert text.endswith(NAMES["pem"])


def test_base64_in_the_variable_for_a_pem_is_noted(keys: Keys) -> None:
    [(severity, text)] = notes(read_private_key(pem=b64(keys.pem)))

    assert severity == "note"
    assert text.endswith("SNOWFLAKE_PRIVATE_KEY_B64")


@pytest.mark.parametrize("shape", ["PEM", "base64 of DER", "newlines removed", "base64 of the PEM"])
def test_a_key_in_the_variable_for_a_path_is_understood_and_noted(shape: str, keys: Keys, fingerprint: str) -> None:
    key = read_private_key(path=AS_TEXT[shape](keys))

    assert key.fingerprint == fingerprint
    assert [severity for severity, _ in notes(key)] == ["note"]


def test_a_passphrase_beside_a_plain_key_is_ignored_with_a_warning(keys: Keys, fingerprint: str) -> None:
    key = read_private_key(pem=keys.pem, passphrase=PASSPHRASE, names=NAMES)

    assert key.fingerprint == fingerprint
    [(severity, text)] = notes(key)
    assert severity == "warning"
    assert text.startswith(NAMES["passphrase"])
    assert PASSPHRASE not in text


def test_an_empty_passphrase_beside_a_plain_key_is_nothing(keys: Keys) -> None:
    assert read_private_key(pem=keys.pem, passphrase="").notes == ()


@pytest.mark.parametrize("mangled", [f"{PASSPHRASE}\n", f'"{PASSPHRASE}"', f" {PASSPHRASE} "])
def test_quotes_and_blanks_around_a_passphrase_are_seen_through(mangled: str, keys: Keys, fingerprint: str) -> None:
    key = read_private_key(pem=keys.encrypted, passphrase=mangled)

    assert key.fingerprint == fingerprint
    assert [severity for severity, _ in notes(key)] == ["note"]


def test_a_passphrase_that_has_quotes_of_its_own_is_taken_as_it_is(keys: Keys, fingerprint: str) -> None:
    quoted = f'"{PASSPHRASE}" '
    encrypted = keys.private(Encoding.PEM, PrivateFormat.PKCS8, quoted).decode()
    key = read_private_key(pem=encrypted, passphrase=quoted)

    assert (key.fingerprint, key.notes) == (fingerprint, ())


def test_a_file_that_anyone_can_read_is_warned_of(keys: Keys) -> None:
    [(severity, text)] = notes(read_private_key(path=keys.file(keys.pem + "\n", mode=0o644)))

    assert severity == "warning"
    assert "chmod 600" in text


def test_blank_variables_count_as_not_set(keys: Keys, fingerprint: str) -> None:
    assert read_private_key(pem="", b64=b64(keys.pem), path=' "" ').fingerprint == fingerprint


# ---- Refusals. ----


def other(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def small_rsa() -> str:
    return other(rsa.generate_private_key(65537, 1024))


def half(text: str) -> str:
    return text[: len(text) // 2]


def dsa_pem(k: Keys) -> str:
    return k.openssl("genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:1024").decode()


def with_one_line_less(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(lines[:5] + lines[6:])


def openssh_encrypted(k: Keys) -> str:
    """The header of OpenSSH's format, which says that it is encrypted, and nothing real in it."""
    path = k.folder / "openssh"
    path.unlink(missing_ok=True)
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not on this machine")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", PASSPHRASE, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path.read_text()


def camellia(k: Keys) -> str:
    return k.openssl("pkcs8", "-topk8", "-v2", "camellia-256-cbc", "-passout", f"pass:{PASSPHRASE}").decode()


def pkcs12_store(k: Keys) -> bytes:
    return pkcs12.serialize_key_and_certificates(b"dbt", k.key, k.certificate, None, NoEncryption())


# What is pasted → words that the refusal must have: what it is, and what to do.
REFUSED: dict[str, tuple[Shape, list[str]]] = {
    "nothing at all": (lambda k: {}, ["no private key", "exactly one", "_B64", "_PEM", "_PATH"]),
    "two variables": (lambda k: {"pem": k.pem, "b64": b64(k.pem)}, ["more than one", "_PEM and ", "_B64"]),
    "three variables": (
        lambda k: {"pem": k.pem, "b64": b64(k.pem), "path": k.file(k.pem)},
        ["more than one", "_PEM and ", "_B64 and ", "_PATH"],
    ),
    "empty": (lambda k: {"pem": ""}, ["_PEM", "is empty", "remove it"]),
    "blank": (lambda k: {"b64": " \n\t"}, ["_B64", "is empty"]),
    "quotes around nothing": (lambda k: {"pem": '""'}, ["is empty"]),
    "zero-width characters": (lambda k: {"pem": "\ufeff\u200b"}, ["is empty"]),
    "a name with no value": (lambda k: {"pem": "SNOWFLAKE_PRIVATE_KEY_PEM="}, ["is empty"]),
    "an empty passphrase's key": (lambda k: {"path": "   "}, ["_PATH", "is empty"]),
    "public key": (lambda k: {"pem": k.public_pem}, ["public key", "BEGIN PRIVATE KEY", "RSA_PUBLIC_KEY"]),
    "public key, base64 of the PEM": (lambda k: {"b64": b64(k.public_pem)}, ["public key"]),
    "public key, body alone": (
        lambda k: {"b64": "".join(k.public_pem.splitlines()[1:-1])},
        ["public key", "BEGIN PRIVATE KEY"],
    ),
    "public key, a file": (lambda k: {"path": k.file(k.public_pem)}, ["_PATH", "public key"]),
    "public key under a private label": (
        lambda k: {"pem": k.public_pem.replace("PUBLIC", "PRIVATE")},
        ["public key"],
    ),
    "public key, OpenSSH": (
        lambda k: {
            "pem": k.key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " me@here"
        },
        ["public key", "BEGIN PRIVATE KEY"],
    ),
    "certificate": (lambda k: {"pem": k.certificate.public_bytes(Encoding.PEM).decode()}, ["certificate"]),
    "certificate, base64 of DER": (
        lambda k: {"b64": b64(k.certificate.public_bytes(Encoding.DER))},
        ["certificate"],
    ),
    "PKCS#12": (lambda k: {"path": k.file(pkcs12_store(k))}, ["PKCS#12", "openssl pkcs12"]),
    "PKCS#12, base64": (lambda k: {"b64": b64(pkcs12_store(k))}, ["PKCS#12", "openssl pkcs12"]),
    "PuTTY": (lambda k: {"pem": "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n" + k.body}, ["PuTTY", "puttygen"]),
    "PGP": (
        lambda k: {"pem": f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{k.body}\n-----END PGP PRIVATE KEY BLOCK-----"},
        ["PGP", "openssl"],
    ),
    "JSON Web Key": (lambda k: {"pem": json.dumps({"kty": "RSA", "d": k.body})}, ["JSON Web Key", "PKCS#8"]),
    "elliptic curve": (
        lambda k: {"pem": other(ec.generate_private_key(ec.SECP256R1()))},
        ["type EC", "RSA", "openssl genrsa"],
    ),
    "Ed25519": (lambda k: {"pem": other(ed25519.Ed25519PrivateKey.generate())}, ["Ed25519", "RSA alone"]),
    "Ed25519, base64 of DER": (
        lambda k: {
            "b64": b64(
                ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            )
        },
        ["Ed25519", "RSA alone"],
    ),
    "Ed25519, OpenSSH's format": (
        lambda k: {
            "pem": ed25519.Ed25519PrivateKey.generate()
            .private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
            .decode()
        },
        ["Ed25519", "RSA alone"],
    ),
    "DSA": (lambda k: {"pem": other(dsa.generate_private_key(2048))}, ["type DSA", "RSA alone"]),
    "parameters without a key": (lambda k: {"pem": dsa_pem(k)}, ["no private key"]),
    "RSA of 1024 bits": (
        lambda k: {"pem": small_rsa()},
        ["1024 bits", "2048 or more", "openssl genrsa 2048"],
    ),
    "two different keys": (
        lambda k: {"pem": k.pem + small_rsa()},
        ["more than one private key", "only the one"],
    ),
    "passphrase missing": (lambda k: {"pem": k.encrypted}, ["_PASSPHRASE", "is not set", "encrypted", "_PEM"]),
    "passphrase empty": (lambda k: {"pem": k.encrypted, "passphrase": ""}, ["_PASSPHRASE", "is empty"]),
    "passphrase blank": (lambda k: {"pem": k.encrypted, "passphrase": "  "}, ["_PASSPHRASE", "is empty"]),
    "passphrase of two quotes": (lambda k: {"pem": k.encrypted, "passphrase": '""'}, ["_PASSPHRASE", "is empty"]),
    "passphrase wrong": (
        lambda k: {"pem": k.encrypted, "passphrase": "wrong-Horse-wrong"},
        ["_PASSPHRASE", "does not open", "_PEM"],
    ),
    "Proc-Type, passphrase missing": (lambda k: {"pem": k.proc_type}, ["_PASSPHRASE", "is not set"]),
    "Proc-Type, passphrase wrong": (
        lambda k: {"pem": k.proc_type, "passphrase": "wrong-Horse-wrong"},
        ["_PASSPHRASE", "does not open"],
    ),
    "Proc-Type lost": (
        lambda k: {"pem": re.sub(r"Proc-Type.*\nDEK-Info.*\n", "", k.proc_type), "passphrase": PASSPHRASE},
        ["damaged", "Proc-Type"],
    ),
    "Proc-Type, END line missing": (
        lambda k: {"pem": k.proc_type.split("-----END")[0], "passphrase": PASSPHRASE},
        ["truncated", "END line"],
    ),
    "a cipher that nobody has": (
        lambda k: {"pem": camellia(k), "passphrase": PASSPHRASE},
        ["encrypted in a way", "-v2 aes-256-cbc"],
    ),
    "OpenSSH's format, encrypted, no passphrase": (
        lambda k: {"pem": openssh_encrypted(k)},
        ["_PASSPHRASE", "is not set"],
    ),
    "OpenSSH's format, truncated": (lambda k: {"pem": half(k.openssh)}, ["truncated", "END line"]),
    "a file's path": (lambda k: {"pem": "/etc/secrets/rsa_key.p8"}, ["path, not a key", "_PATH"]),
    "a file's path without suffix": (lambda k: {"b64": "/run/secrets/snowflake_key"}, ["path, not a key", "_PATH"]),
    "a file's path from home": (lambda k: {"pem": "~/.ssh/snowflake"}, ["path, not a key", "_PATH"]),
    "a file's relative path": (lambda k: {"pem": "keys/rsa_key.p8"}, ["path, not a key", "_PATH"]),
    "a Windows path": (lambda k: {"pem": r"C:\new\rsa\key.p8"}, ["path, not a key", "_PATH"]),
    "a path with its name": (
        lambda k: {"pem": "SNOWFLAKE_PRIVATE_KEY_PEM='/etc/secrets/key.pem'"},
        ["path, not a key", "_PATH"],
    ),
    "half of a PEM": (lambda k: {"pem": half(k.pem)}, ["truncated", "bytes", "from BEGIN to END", "_PATH"]),
    "a PEM that lost its end in the middle of a line": (
        lambda k: {"pem": k.pem.split("-----END")[0][:-10]},
        ["truncated"],
    ),
    "a PEM cut right behind BEGIN": (lambda k: {"pem": "-----BEGIN PRIVATE KEY-----\n"}, ["truncated", "END line"]),
    "only the first line of a PEM": (lambda k: {"pem": k.pem.splitlines()[0]}, ["truncated", "END line"]),
    "half of base64 of the PEM": (lambda k: {"b64": half(b64(k.pem))}, ["truncated"]),
    "half of base64 of DER": (lambda k: {"b64": half(b64(k.der))}, ["truncated"]),
    "the second half of base64": (
        lambda k: {"b64": b64(k.der)[len(b64(k.der)) // 2 + 1 :].lstrip("M")},
        ["could be recognised", "whole"],
    ),
    "half of a DER file": (lambda k: {"path": k.file(k.der[:600])}, ["_PATH", "truncated"]),
    "half of a key in the variable for a path": (lambda k: {"path": half(k.body)}, ["_PATH", "truncated"]),
    "the start of a key in the variable for a path": (lambda k: {"path": k.body[:60]}, ["_PATH", "truncated"]),
    "a line of a key in the variable for a path": (
        lambda k: {"path": k.body[64:128].replace("/", "x")},
        ["_PATH", "does not exist"],
    ),
    "a line missing": (lambda k: {"pem": with_one_line_less(k.pem)}, ["truncated"]),
    "wrong characters in it": (lambda k: {"pem": k.pem.replace("\n", "\n#!")}, ["damaged", "Copy the"]),
    "a number of another": (
        lambda k: {"b64": b64(k.der[:300] + bytes(255 - byte for byte in k.der[300:310]) + k.der[310:])},
        ["damaged"],
    ),
    "glued to something": (lambda k: {"b64": b64(k.der + b"more")}, ["4 bytes after the end"]),
    "placeholder": (lambda k: {"pem": "<your key>"}, ["placeholder", "openssl genrsa"]),
    "placeholder: changeme": (lambda k: {"b64": "changeme"}, ["placeholder"]),
    "placeholder: of a form": (lambda k: {"b64": "your-private-key-here"}, ["placeholder"]),
    "placeholder: three dots": (lambda k: {"pem": "..."}, ["placeholder"]),
    "placeholder: stars": (lambda k: {"pem": "********"}, ["placeholder"]),
    "placeholder between BEGIN and END": (
        lambda k: {"pem": "-----BEGIN PRIVATE KEY-----\n<paste your key>\n-----END PRIVATE KEY-----"},
        ["placeholder"],
    ),
    "three dots between BEGIN and END": (
        lambda k: {"pem": "-----BEGIN PRIVATE KEY-----\nMIIE...\n-----END PRIVATE KEY-----"},
        ["placeholder"],
    ),
    "nothing between BEGIN and END": (
        lambda k: {"pem": "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"},
        ["is empty"],
    ),
    "a variable that nothing resolved": (lambda k: {"pem": "${SNOWFLAKE_KEY}"}, ["reference", "secret store"]),
    "a command that nothing ran": (lambda k: {"pem": "$(cat key.p8)"}, ["reference"]),
    "a template that nothing filled": (lambda k: {"b64": "{{ secrets.KEY }}"}, ["reference"]),
    "a secret store's address": (lambda k: {"pem": "op://vault/snowflake/key"}, ["reference"]),
    "a password": (lambda k: {"pem": "hunter2-hunter2"}, ["15 characters", "too short"]),
    "binary noise": (lambda k: {"path": k.file(bytes(range(1, 200)) * 4)}, ["could be recognised"]),
    "a file that is not there": (
        lambda k: {"path": "/nowhere/key.p8"},
        ["/nowhere/key.p8", "does not exist", "mounted"],
    ),
    "a file below a file": (lambda k: {"path": k.file("x") + "/key.p8"}, ["does not exist"]),
    "a directory": (lambda k: {"path": str(k.folder)}, ["is a directory", "Name the file", "Docker"]),
    "a device": (lambda k: {"path": "/dev/null"}, ["not a regular file"]),
    "an empty file": (lambda k: {"path": k.file(b"\n \n")}, ["is empty", "Write the private key"]),
    "a file that is too large": (
        lambda k: {"path": k.file(b"A" * (MAXIMUM_FILE_BYTES + 1))},
        [f"{MAXIMUM_FILE_BYTES + 1} bytes", "key alone"],
    ),
    "an impossible path": (lambda k: {"path": "/etc/\0key"}, ["not a possible path"]),
    "nobody's home": (lambda k: {"path": "~nobody-has-this-name/key.p8"}, ["not a possible path"]),
}


def windows(text: str) -> set[str]:
    return {text[start : start + 8] for start in range(len(text) - 7)}


def secret_windows(given: dict[str, str], folder: Path) -> set[str]:
    """All stretches of 8 characters of what could be a key or a passphrase in what was given; no words, no paths."""
    texts = [text for name, text in given.items() if not (name == "path" and text.startswith(("/", "~")))]
    if given.get("path", "").startswith(f"{folder}/") and Path(given["path"]).is_file():
        texts.append(Path(given["path"]).read_text("latin-1"))
    words = [word for text in texts for word in re.findall(r"[A-Za-z0-9+/=]{20,}", text)]
    return {each for word in words if not word.islower() for each in windows(word)} | windows(
        given.get("passphrase", "")
    )


@pytest.mark.parametrize("shape", REFUSED)
def test_a_refusal_says_what_it_is_and_what_to_do_and_shows_nothing(shape: str, keys: Keys) -> None:
    make, words = REFUSED[shape]
    given = make(keys)

    with pytest.raises(KeyPairError) as caught:
        read_private_key(**given, names=NAMES)

    message = str(caught.value)
    assert [word for word in words if word not in message] == []
    assert all(problem.where.startswith("DBT_WILLIAMGRANT__") and problem.remedy for problem in caught.value.problems)
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    shown = f"{message} {error!r} {''.join(traceback.format_exception(error, limit=-1))}"
    assert secret_windows(given, keys.folder).isdisjoint(windows(shown))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Nobody's rights, where tests run as root, to whom every file is readable."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_this_process_may_not_read_is_refused(keys: Keys) -> None:
    path = keys.file(keys.pem + " ", mode=0)

    with unprivileged(), pytest.raises(KeyPairError, match=r"can't be read: Permission denied.*chown"):
        read_private_key(path=path)


def test_the_variables_have_their_shared_names_where_no_tenant_overrides_them() -> None:
    with pytest.raises(KeyPairError) as caught:
        read_private_key()

    assert caught.value.problems[0].where == (
        "SNOWFLAKE_PRIVATE_KEY_PEM / SNOWFLAKE_PRIVATE_KEY_B64 / SNOWFLAKE_PRIVATE_KEY_PATH"
    )


@pytest.mark.parametrize("position", range(0, 1600, 53))
def test_a_key_with_one_wrong_character_is_the_same_key_or_refused(position: int, keys: Keys, fingerprint: str) -> None:
    body = keys.body
    flipped = body[:position] + ("B" if body[position] != "B" else "C") + body[position + 1 :]

    try:
        outcome = read_private_key(b64=flipped).fingerprint
    except KeyPairError as error:
        outcome = str(error)

    assert outcome == fingerprint or windows(flipped).isdisjoint(windows(outcome))


@pytest.mark.parametrize("length", range(1, 1700, 71))
def test_a_pem_cut_anywhere_is_refused_without_a_word_of_it(length: int, keys: Keys) -> None:
    cut = keys.pem[:length]

    with pytest.raises(KeyPairError) as caught:
        read_private_key(pem=cut)

    assert windows(keys.body).isdisjoint(windows(str(caught.value)))
