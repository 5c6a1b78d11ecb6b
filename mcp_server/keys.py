"""Signing keys of one home: each has an id, the newest signs, all verify, so that keys rotate with overlap."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from indexes.durable import fsync_folder

SECRET_BYTES = 32


@dataclass(frozen=True)
class Key:
    """One signing key. `material` never leaves the process."""

    id: str
    material: bytes

    def __repr__(self) -> str:
        return f"Key(id={self.id!r})"


class Keyring:
    """The keys of one purpose, as files `<kid>.key` that only the owner may read.

    Ids start with the moment of creation, so the newest key has the greatest id. Raises OSError where the
    folder cannot be written.
    """

    def __init__(self, folder: Path, make: Callable[[], bytes]) -> None:
        self.folder = folder
        self._make = make
        self._keys: dict[str, Key] = {}

    def newest(self) -> Key:
        """The key that signs; the first call ever makes one."""
        self._load()
        if not self._keys:
            self.rotate()
        return self._keys[max(self._keys)]

    def find(self, key_id: str) -> Key | None:
        """The key of that id. An id never becomes a path: it is looked up among the files that are there."""
        if key_id not in self._keys:
            self._load()
        return self._keys.get(key_id)

    def rotate(self) -> Key:
        """Make a new key, which signs from now on; the older ones still verify until their file is removed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = Key(f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}", self._make())
        aside = self.folder / f".{key.id}.tmp"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.material)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self._path(key.id))
        fsync_folder(self.folder)
        self._keys = {**self._keys, key.id: key}
        return key

    def _load(self) -> None:
        self._keys = {path.stem: Key(path.stem, path.read_bytes()) for path in self.folder.glob("[0-9]*.key")}

    def _path(self, key_id: str) -> Path:
        return self.folder / f"{key_id}.key"


def token_keys(home: Path) -> Keyring:
    """The Ed25519 keys that sign development tokens, as PKCS#8 PEM."""

    def private_key() -> bytes:
        return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    return Keyring(home / "keys" / "tokens", private_key)


def cursor_keys(home: Path) -> Keyring:
    """The secrets that sign cursors (HMAC-SHA256)."""
    return Keyring(home / "keys" / "cursors", lambda: secrets.token_bytes(SECRET_BYTES))
