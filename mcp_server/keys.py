"""The keys that the server signs with: development tokens and cursors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from indexes.keys import Keyring, keyring


def token_keys(home: Path, environment: Mapping[str, str] | None = None) -> Keyring:
    """The Ed25519 keys that sign development tokens, as PKCS#8 PEM."""
    return keyring(home, "tokens", environment)


def cursor_keys(home: Path, environment: Mapping[str, str] | None = None) -> Keyring:
    """The secrets that sign cursors (HMAC-SHA256)."""
    return keyring(home, "cursors", environment)
