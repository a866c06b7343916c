"""Every way in which a private key can be refused, each with the remedy that a person needs.

The texts are complete here and hold nothing of what was pasted; finding out which of them applies is `key_text`'s and
`keypair`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dagster_apollo.errors import Problem


@dataclass(frozen=True)
class Refusal:
    """Why a key is refused. Both texts may name `{pem}`, `{b64}`, `{path}`, `{passphrase}` (variables) and facts."""

    what: str
    remedy: str


class KeyRefusedError(Exception):
    """Carries a refusal up to the one place that knows the variables' names; never leaves this package.

    Attributes:
        problem: makes the `Problem`, given the thing it is about and the variables' names.
    """

    def __init__(self, refusal: Refusal, *, where: str | None = None, **facts: object) -> None:
        super().__init__(refusal.what)
        self.refusal, self.where, self.facts = refusal, where, facts

    def problem(self, where: str, names: Mapping[str, str]) -> Problem:
        words = {**names, **self.facts}
        return Problem(self.where or where, self.refusal.what.format_map(words), self.refusal.remedy.format_map(words))


NEW_KEY = "make one with `openssl genrsa 2048 | openssl pkcs8 -topk8 -nocrypt -out key.p8`"

EMPTY = Refusal("is empty", "Give it the private key, or remove it and set another of {pem}, {b64}, {path}")
PUBLIC_KEY = Refusal(
    "holds a public key",
    "Put the private key here, from the file that says BEGIN PRIVATE KEY; the public one belongs to Snowflake, "
    "by ALTER USER … SET RSA_PUBLIC_KEY",
)
CERTIFICATE = Refusal("holds a certificate, not a private key", "Put the private key here: BEGIN PRIVATE KEY")
OTHER_BLOCK = Refusal("holds PEM, but no private key", "Put the private key here: BEGIN PRIVATE KEY")
PGP = Refusal("holds a PGP key", f"Snowflake takes RSA keys in PKCS#8: {NEW_KEY}")
PUTTY = Refusal("holds a PuTTY key", f"Export it with `puttygen key.ppk -O private-openssh -o key`, or {NEW_KEY}")
JWK = Refusal("holds a JSON Web Key", f"Convert it to PKCS#8 PEM, or {NEW_KEY}")
TWO_KEYS = Refusal("holds more than one private key", "Leave only the one whose public half Snowflake knows")
TRUNCATED = Refusal(
    "holds a truncated key: {have} of {declared} bytes",
    "Part of the text is missing: copy the whole file again, from BEGIN to END, or set {path} to the file",
)
NO_END = Refusal(
    "holds a truncated key: the END line is missing",
    "Copy the whole file again, from BEGIN to END, or set {path} to the file",
)
TRAILING = Refusal(
    "holds {extra} bytes after the end of the key", "Something was glued to it: copy the key's file again, alone"
)
DAMAGED = Refusal(
    "holds a damaged key: characters are wrong or missing",
    "Copy the whole file again, with its Proc-Type and DEK-Info lines if it has them, or set {path} to the file",
)
UNRESOLVED = Refusal(
    "holds a reference that nothing has resolved", "Put the key's text here, or let the secret store fill it in"
)
FILE_PATH = Refusal("holds a file's path, not a key", "Set {path} to it and leave this variable out")
PLACEHOLDER = Refusal("holds a placeholder, not a key", f"Put the private key here; to have one, {NEW_KEY}")
TOO_SHORT = Refusal(
    "holds {length} characters, which is too short for a key", f"Put the private key here; to have one, {NEW_KEY}"
)
UNRECOGNISED = Refusal(
    "holds nothing that could be recognised as a private key",
    "Give it a PEM (BEGIN PRIVATE KEY) or base64 of its file, whole; or set {path} to the file",
)

NO_SOURCE = Refusal(
    "no private key is set", "Set exactly one: {b64} (base64 of the key's file), {pem} (its text) or {path}"
)
SEVERAL_SOURCES = Refusal("more than one private key is set", "Keep one of them and remove the others")

PASSPHRASE_MISSING = Refusal(
    "is not set, and the private key in {source} is encrypted",
    "Set it, or store the key without one: `openssl pkcs8 -topk8 -nocrypt -in key.p8 -out plain.p8`",
)
PASSPHRASE_EMPTY = Refusal(
    "is empty, and the private key in {source} is encrypted",
    "Give it the passphrase, or store the key without one: `openssl pkcs8 -topk8 -nocrypt -in key.p8 -out plain.p8`",
)
PASSPHRASE_WRONG = Refusal(
    "does not open the private key in {source}",
    "Try it with `openssl pkey -in key.p8 -noout`; if it is right there, copy the key again",
)
UNSUPPORTED_ENCRYPTION = Refusal(
    "holds a key that is encrypted in a way that can't be read here",
    "Encrypt it anew: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in key.p8 -out new.p8`; an OpenSSH key first with "
    "`ssh-keygen -p -m PKCS8 -f key`",
)
NOT_RSA = Refusal("holds a key of type {kind}; Snowflake takes RSA alone", f"To have one, {NEW_KEY}")
TOO_SMALL = Refusal("holds an RSA key of {bits} bits; Snowflake asks for 2048 or more", f"To have one, {NEW_KEY}")
PKCS12 = Refusal(
    "holds a PKCS#12 store (.p12, .pfx)",
    "Take the key out of it: `openssl pkcs12 -in store.p12 -nocerts -nodes -out key.p8`",
)

FILE_NOT_FOUND = Refusal("{file} does not exist", "Correct the path; in a container, check that the file is mounted")
FILE_IS_DIRECTORY = Refusal(
    "{file} is a directory",
    "Name the file in it; Docker makes an empty directory where the file to be mounted did not exist",
)
FILE_NOT_REGULAR = Refusal("{file} is not a regular file", "Name the file that holds the key")
FILE_UNREADABLE = Refusal(
    "{file} can't be read: {reason}", "Let the user of this process read it: `chown` it, then `chmod 400`"
)
FILE_EMPTY = Refusal("{file} is empty", "Write the private key to it; an earlier copy may have been interrupted")
FILE_TOO_LARGE = Refusal(
    "{file} has {size_bytes} bytes; a key has fewer than {limit_bytes}", "Name the file that holds the key alone"
)
