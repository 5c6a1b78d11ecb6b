"""Heads of the audit chain kept outside it, signed, so that a log cut short or rewritten does not pass for whole."""

from __future__ import annotations

import base64
import functools
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from indexes.keys import Keyring
from mcp_server.audit_chain import Head, parsed
from semantic_layer.errors import AuditBroken, WellheadError

SUFFIX = ".head"
_WIDTH = 512
"""Every note has this many bytes, so that it is written over the one before it in one piece."""


class Anchor(Protocol):
    """Keeps heads. `note` may be called for each group of records; `heads` says what was last noted."""

    def note(self, head: Head) -> None: ...

    def heads(self) -> Mapping[str, Head]: ...

    def close(self) -> None: ...


class HeadRows(Protocol):
    """A table that is only ever added to, such as `indexes.postgres.audit_heads.AuditHeads`."""

    def add(self, segment: str, seq: int, note: str) -> None: ...

    def newest(self) -> Sequence[str]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Signer:
    """Signs and reads notes of heads with the workspace's audit keys (Ed25519)."""

    keys: Keyring

    def note(self, head: Head) -> str:
        """The head as one signed line of JSON."""
        key = self.keys.newest()
        said = {
            "segment": head.segment,
            "seq": head.seq,
            "sha256": head.sha256,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "key": key.id,
        }
        signature = _private_key(key.material).sign(_canonical(said))
        return json.dumps({**said, "signature": base64.b64encode(signature).decode()}, sort_keys=True)

    def read(self, text: str, shown_as: str) -> Head:
        """The head in a note. Raises AuditBroken where it is none, or not signed by one of the keys."""
        said = parsed(text.strip().encode())
        try:
            if said is None:
                raise ValueError
            signature = base64.b64decode(said.pop("signature"), validate=True)
            key = self.keys.find(str(said["key"]))
            if key is None:
                raise InvalidSignature
            _private_key(key.material).public_key().verify(signature, _canonical(said))
            return Head(str(said["segment"]), int(said["seq"]), str(said["sha256"]))
        except (InvalidSignature, ValueError, KeyError, TypeError):
            raise AuditBroken(
                f"the anchored head {shown_as} was not signed by an audit key of this workspace.",
                hint="Compare it with a copy; restore the keys where they were lost.",
            ) from None


class FolderAnchor:
    """One signed file a segment in a folder, best on another volume. Written after the records are on disk."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        self.folder = folder
        self._signer = signer

    def note(self, head: Head) -> None:
        """Write the head over the one before it. Raises OSError where that fails."""
        line = self._signer.note(head).ljust(_WIDTH - 1) + "\n"
        path = self.folder / f"{head.segment}{SUFFIX}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        except FileNotFoundError:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, line.encode(), 0)
        finally:
            os.close(descriptor)

    def heads(self) -> dict[str, Head]:
        """The head of each segment. Raises AuditBroken for the first note that is not ours."""
        found: dict[str, Head] = {}
        for path in sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder.is_dir() else ():
            head = self._signer.read(path.read_text(encoding="utf-8", errors="replace"), path.name)
            if head.segment != path.stem:
                raise AuditBroken(f"the anchored head {path.name} speaks of {head.segment}.", hint="Restore it.")
            found[head.segment] = head
        return found

    def close(self) -> None:
        """Nothing is held open."""


class TableAnchor:
    """Heads as rows of a table elsewhere, added by a thread of its own about each second while there is news.

    `note` never waits for the table. Where it has not taken a head for `patience` seconds, `note` raises OSError, so
    that the log counts as down.
    """

    def __init__(self, rows: HeadRows, signer: Signer, *, every: float = 1.0, patience: float = 30.0) -> None:
        self._rows = rows
        self._signer = signer
        self._every = every
        self._patience = patience
        self._waiting: dict[str, Head] = {}
        self._behind_since = 0.0
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def note(self, head: Head) -> None:
        """Have the head added soon. Raises OSError where the table has not answered for too long."""
        with self._changed:
            if self._behind_since and time.monotonic() - self._behind_since > self._patience:
                raise OSError(f"no head could be anchored for {self._patience:g} s")
            self._waiting[head.segment] = head
            if self._thread is None:
                self._thread = threading.Thread(target=self._add_all, name="audit-anchor", daemon=True)
                self._thread.start()
            self._changed.notify()

    def heads(self) -> dict[str, Head]:
        """The newest head of each segment. Raises AuditBroken, or what the table raises."""
        notes = [self._signer.read(text, "in the table") for text in self._rows.newest()]
        return {head.segment: head for head in notes}

    def close(self) -> None:
        """Add what waits, as far as the table answers, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()
        self._rows.close()

    def _add_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                batch, self._waiting = self._waiting, {}
                closed = self._closed
            self._add(batch)
            if closed:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=self._every)

    def _add(self, batch: Mapping[str, Head]) -> None:
        try:
            for head in batch.values():
                self._rows.add(head.segment, head.seq, self._signer.note(head))
            self._behind_since = 0.0
        except WellheadError:
            with self._changed:
                self._waiting = {**batch, **self._waiting}
                self._behind_since = self._behind_since or time.monotonic()


def _canonical(said: Mapping[str, object]) -> bytes:
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


@functools.lru_cache(maxsize=8)
def _private_key(material: bytes) -> Ed25519PrivateKey:
    loaded = load_pem_private_key(material, password=None)
    if not isinstance(loaded, Ed25519PrivateKey):
        raise ValueError("an audit key must be an Ed25519 key")
    return loaded
