"""Requests for access: who asks for what and why, and what its owner decided; durable, and never a right itself."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from indexes.durable import create_exclusively, json_bytes, read_json
from semantic_layer.errors import InvalidArgument, UnknownName

FORMAT = 1
MAX_OPEN = 20
"""Requests of one caller that may wait for a decision at once."""

AccessState = Literal["pending", "approved", "refused"]


@dataclass(frozen=True)
class AccessRequest:
    """One request. An approval says that its owner agreed; rights come only from a published policy."""

    id: str
    subject: str
    product: str
    purpose: str
    at: str
    state: AccessState = "pending"
    decided_by: str = ""
    decided_at: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The request in JSON form; empty parts are left out."""
        return {name: value for name, value in vars(self).items() if value}


class AccessRequests:
    """Requests as folders: access/<id>/request.json, and decision.json once there is one. Each is written once."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "access"

    def submit(self, subject: str, product: str, purpose: str) -> AccessRequest:
        """Write a request down; the same one that still waits is given back. Raises InvalidArgument past MAX_OPEN."""
        waiting = [one for one in self.all() if one.subject == subject and one.state == "pending"]
        for one in waiting:
            if (one.product, one.purpose) == (product, purpose):
                return one
        if len(waiting) >= MAX_OPEN:
            raise InvalidArgument(f"{MAX_OPEN} of your requests wait already.", hint="Wait for a decision.")
        moment = datetime.now(UTC)
        request_id = f"access-{moment:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        folder = self.folder / request_id
        folder.mkdir(parents=True)
        entry = {"subject": subject, "product": product, "purpose": purpose, "at": _stamp(moment)}
        create_exclusively(folder / "request.json", json_bytes({"format": FORMAT, "id": request_id, **entry}))
        return self.get(request_id)

    def get(self, request_id: str) -> AccessRequest:
        """A request as it stands. Raises UnknownName."""
        known = self.folder.is_dir() and request_id in {path.name for path in self.folder.iterdir()}
        path = self.folder / request_id / "request.json"
        if not known or not path.exists():
            raise UnknownName("access request", request_id[:100], hint="Give the id that `request_access` gave.")
        return AccessRequest(**_fields(read_json(path, FORMAT)), **self._decision(request_id))

    def all(self) -> list[AccessRequest]:
        """Every request, newest first."""
        if not self.folder.is_dir():
            return []
        ids = [path.parent.name for path in self.folder.glob("*/request.json")]
        return [self.get(request_id) for request_id in sorted(ids, reverse=True)]

    def decide(self, request_id: str, state: Literal["approved", "refused"], by: str, note: str) -> AccessRequest:
        """Record the owner's decision, once. Raises UnknownName, InvalidArgument where it was decided before."""
        self.get(request_id)
        entry = {"state": state, "decided_by": by, "decided_at": _stamp(datetime.now(UTC)), "note": note}
        path = self.folder / request_id / "decision.json"
        if not create_exclusively(path, json_bytes({"format": FORMAT, **entry})):
            raise InvalidArgument(f"{request_id} was decided before.", hint="A new request can be decided anew.")
        return self.get(request_id)

    def _decision(self, request_id: str) -> dict[str, Any]:
        path = self.folder / request_id / "decision.json"
        return _fields(read_json(path, FORMAT)) if path.exists() else {}


def _fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "format"}


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
