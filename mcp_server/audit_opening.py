"""Opens the audit log of a home with the anchors that the settings name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from indexes.keys import keyring
from indexes.postgres.audit_heads import AuditHeads
from mcp_server.audit import AuditLog
from mcp_server.audit_anchor import Anchor, FolderAnchor, Signer, TableAnchor
from mcp_server.settings import ServingSettings
from semantic_layer.audit_settings import POSTGRES
from semantic_layer.environment import filled

ANCHORS = "anchors"


def open_audit(settings: ServingSettings, environment: Mapping[str, str]) -> AuditLog:
    """The log of these settings' home. Raises InvalidArgument for keys or a DSN that cannot be used."""
    return AuditLog(settings.home, [anchor_of(settings, environment)])


def anchor_of(settings: ServingSettings, environment: Mapping[str, str]) -> Anchor:
    """Where the chain's heads are kept: a folder, in the home where none is named, or a table in PostgreSQL."""
    signer = Signer(keyring(settings.home, "audit", environment))
    where = settings.audit.anchor
    if where == POSTGRES:
        dsn = filled(settings.postgres.dsn, environment, where="`audit: {anchor: postgres}`")
        return TableAnchor(AuditHeads(dsn, settings.postgres.schema), signer)
    return FolderAnchor(Path(where) if where else settings.home / ANCHORS, signer)
