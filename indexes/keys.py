"""Signing keys of one workspace: each has an id, the newest signs, all verify, so that keys rotate with overlap."""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from indexes.durable import fsync_folder
from indexes.folder_listing import FolderListing
from semantic_layer.errors import InvalidArgument, UnknownName

Purpose = Literal["tokens", "cursors", "masks", "audit"]
"""What a key is for: development tokens and audit anchors (Ed25519), cursors and hash masks (HMAC-SHA256)."""

SECRET_BYTES = 32
VARIABLES: Mapping[Purpose, str] = {
    "tokens": "WELLHEAD_KEYS_TOKENS",
    "cursors": "WELLHEAD_KEYS_CURSORS",
    "masks": "WELLHEAD_KEYS_MASKS",
    "audit": "WELLHEAD_KEYS_AUDIT",
}
"""The environment variable that holds a purpose's keys instead of files: `id:base64 id:base64 …`, the newest first."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FILE = re.compile(r"[0-9].*\.key")


@dataclass(frozen=True)
class Key:
    """One signing key. `material` never leaves the process: PKCS#8 PEM for Ed25519, 32 random bytes for HMAC."""

    id: str
    material: bytes

    def __repr__(self) -> str:
        return f"Key(id={self.id!r})"


class Keyring:
    """The keys of one purpose, as files `<id>.key` that only the owner may read, or as `given` from outside.

    Ids of files start with the moment of creation, so the newest key has the greatest id; of keys that are given,
    the first is the newest. A file that comes or goes counts from the next call. Raises OSError where the folder
    cannot be written.
    """

    def __init__(self, folder: Path, make: Callable[[], bytes], given: Sequence[Key] = ()) -> None:
        self.folder = folder
        self._make = make
        self._given = tuple(given)
        self._listing = FolderListing(folder)
        self._read: tuple[frozenset[str], dict[str, Key]] = (frozenset(), {})

    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the one that signs first."""
        return tuple(key.id for key in self._given) or tuple(sorted(self._files(), reverse=True))

    def newest(self) -> Key:
        """The key that signs; the first call ever makes one."""
        if self._given:
            return self._given[0]
        keys = self._files() or self._first()
        return keys[max(keys)]

    def find(self, key_id: str) -> Key | None:
        """The key of that id. An id never becomes a path: it is looked up among the keys that are there."""
        if self._given:
            return next((key for key in self._given if key.id == key_id), None)
        return self._files().get(key_id)

    def rotate(self) -> Key:
        """Make a new key, which signs from now on; the older ones still verify until they are retired.

        Raises InvalidArgument where the keys come from the environment.
        """
        self._require_files()
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
        return key

    def retire(self, key_id: str) -> None:
        """Remove a key: what it signed no longer verifies.

        Raises UnknownName, or InvalidArgument for the key that signs and for keys from the environment.
        """
        self._require_files()
        known = self.ids()
        if key_id not in known:
            raise UnknownName("key", key_id, known)
        if key_id == known[0]:
            raise InvalidArgument(f"{key_id} is the key that signs.", hint="Rotate first.")
        self._path(key_id).unlink()
        fsync_folder(self.folder)

    def _files(self) -> dict[str, Key]:
        """The keys in the folder; the files are read again when one came or went, for none ever changes."""
        names = self._listing.names()
        known, keys = self._read
        if names != known:
            keys = {key.id: key for name in sorted(names) if (key := self._key(name)) is not None}
            self._read = (names, keys)
        return keys

    def _key(self, name: str) -> Key | None:
        """The key in this file; None for another file, and for one that was retired this moment."""
        if not _FILE.fullmatch(name):
            return None
        try:
            return Key(Path(name).stem, (self.folder / name).read_bytes())
        except FileNotFoundError:
            return None

    def _first(self) -> dict[str, Key]:
        """The keys after making sure that there is one, made by one process where several start together."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._files():
                self.rotate()
            return self._files()

    def _path(self, key_id: str) -> Path:
        return self.folder / f"{key_id}.key"

    def _require_files(self) -> None:
        if self._given:
            raise InvalidArgument(
                f"the keys of {self.folder.name!r} come from the environment.",
                hint="Put a new key before the others there; take an old one out to retire it.",
            )


def keyring(home: Path, purpose: Purpose, environment: Mapping[str, str] | None = None) -> Keyring:
    """The keys of one purpose: those of its environment variable where it is set, else files in the home.

    Raises InvalidArgument for a variable that does not hold keys; its value is never repeated.
    """
    variable = VARIABLES[purpose]
    text = (environment or {}).get(variable, "")
    given = _given(variable, text) if text.strip() else ()
    make = _private_key if purpose in ("tokens", "audit") else _secret
    return Keyring(home / "keys" / purpose, make, given)


def _given(variable: str, text: str) -> tuple[Key, ...]:
    keys: list[Key] = []
    for place, item in enumerate(text.replace(",", " ").split(), 1):
        key_id, _, encoded = item.partition(":")
        try:
            material = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            material = b""
        if not _ID.fullmatch(key_id) or len(material) < SECRET_BYTES or key_id in {key.id for key in keys}:
            raise InvalidArgument(
                f"{variable}: key {place} is not usable.",
                hint="Write id:base64, each id once, with at least 32 bytes; the newest key stands first.",
            )
        keys.append(Key(key_id, material))
    return tuple(keys)


def _private_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)
