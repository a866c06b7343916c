"""What the tests share beside fixtures: a key pair, how a client connects, and how long it waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import snowflake.connector
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECONDS = 60
"""How long a connection waits for the server before it gives up."""


@dataclass(frozen=True)
class KeyPair:
    private: rsa.RSAPrivateKey
    private_file: Path
    public_file: Path

    @property
    def der(self) -> bytes:
        """The private key as the connector takes it."""
        return self.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public_der(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


Connect = Callable[..., snowflake.connector.SnowflakeConnection]
