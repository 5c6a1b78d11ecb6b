"""What agents are told is pinned: a change of any word, schema or annotation must be accepted in review."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mcp_server.prompts import PROMPTS
from mcp_server.protocol import INSTRUCTIONS
from mcp_server.resources import TEMPLATES
from mcp_server.service import Service

MANIFEST = Path(__file__).with_name("tool_manifest.json")
SERVER = Path(__file__).parents[2] / "server.json"
ACCEPT = "WELLHEAD_ACCEPT_TOOLS"
PUBLISHER = "io.modelcontextprotocol.registry/publisher-provided"


def said(service: Service) -> dict[str, str]:
    """The SHA-256 of each thing that this server tells agents, by its name."""
    parts: dict[str, Any] = {"instructions": INSTRUCTIONS}
    parts |= {f"tool {name}": _wire(tool.described()) for name, tool in service.tools.items()}
    parts |= {f"prompt {name}": _wire(prompt.described()) for name, prompt in PROMPTS.items()}
    parts |= {f"template {one.uri_template}": _wire(one) for one in TEMPLATES}
    return {name: _digest(part) for name, part in sorted(parts.items())}


def test_no_word_that_agents_read_changes_unseen(service: Service) -> None:
    found = said(service)
    if os.environ.get(ACCEPT):
        _accept(found)
    pinned = json.loads(MANIFEST.read_text())
    changed = sorted(name for name in pinned.keys() | found.keys() if pinned.get(name) != found.get(name))
    assert changed == [], f"read what changed in {changed}, then run this test with {ACCEPT}=1"


def test_the_published_entry_names_the_manifest() -> None:
    entry = json.loads(SERVER.read_text())["_meta"][PUBLISHER]
    assert entry["tool_manifest_sha256"] == hashlib.sha256(MANIFEST.read_bytes()).hexdigest()


def _accept(found: dict[str, str]) -> None:
    """Pin what is said now, in the manifest and in the entry that registries publish."""
    MANIFEST.write_text(json.dumps(found, indent=1) + "\n")
    entry = json.loads(SERVER.read_text())
    entry["_meta"] = {PUBLISHER: {"tool_manifest_sha256": hashlib.sha256(MANIFEST.read_bytes()).hexdigest()}}
    SERVER.write_text(json.dumps(entry, indent=2) + "\n")


def _wire(model: Any) -> Any:
    return model.model_dump(by_alias=True, exclude_none=True, mode="json")


def _digest(part: Any) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()
