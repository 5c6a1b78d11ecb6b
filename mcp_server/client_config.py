"""What to paste into each client so that it finds this workspace."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp_server.settings import ServingSettings
from semantic_layer.errors import InvalidArgument

CLIENTS = ("claude-code", "claude-desktop", "cursor", "vscode")
TOKEN_VARIABLE = "WELLHEAD_TOKEN"


@dataclass(frozen=True)
class ClientConfiguration:
    """A text and the file (or terminal) it belongs into."""

    file: str
    text: str


def client_configuration(
    client: str, workspace: Path, settings: ServingSettings, *, http: bool
) -> ClientConfiguration:
    """The configuration for one client: a local process over stdio, or the HTTP server with a token.

    Raises InvalidArgument where a client cannot do it.
    """
    name = settings.name
    if client == "claude-code":
        return ClientConfiguration("run in a terminal", _claude_code(name, workspace, settings, http))
    if client == "claude-desktop":
        if http:
            raise InvalidArgument(
                "Claude Desktop reads no URL from its file.",
                hint="Add the server as a connector in its settings, or use stdio (without --http).",
            )
        return ClientConfiguration("claude_desktop_config.json", _servers("mcpServers", name, _local(workspace)))
    if client == "cursor":
        entry = _remote(settings, "${env:" + TOKEN_VARIABLE + "}") if http else _local(workspace)
        return ClientConfiguration(".cursor/mcp.json", _servers("mcpServers", name, entry))
    secret = "${input:wellhead-token}"
    entry = {"type": "http", **_remote(settings, secret)} if http else {"type": "stdio", **_local(workspace)}
    return ClientConfiguration(".vscode/mcp.json", _vscode(name, entry, with_token=http))


def _claude_code(name: str, workspace: Path, settings: ServingSettings, http: bool) -> str:
    if http:
        header = f'"Authorization: Bearer ${TOKEN_VARIABLE}"'
        return f"claude mcp add --transport http {shlex.quote(name)} {settings.resource_url} --header {header}"
    entry = _local(workspace)
    return shlex.join(["claude", "mcp", "add", name, "--", entry["command"], *entry["args"]])


def _local(workspace: Path) -> dict[str, Any]:
    """The installed command itself, by its full path: clients start it with another PATH."""
    command = Path(sys.executable).with_name("wellhead")
    return {"command": str(command), "args": ["--workspace", str(workspace), "serve"]}


def _remote(settings: ServingSettings, token: str) -> dict[str, Any]:
    return {"url": settings.resource_url, "headers": {"Authorization": f"Bearer {token}"}}


def _servers(key: str, name: str, entry: dict[str, Any]) -> str:
    return json.dumps({key: {name: entry}}, indent=2)


def _vscode(name: str, entry: dict[str, Any], *, with_token: bool) -> str:
    form: dict[str, Any] = {"servers": {name: entry}}
    if with_token:
        asked = {"type": "promptString", "id": "wellhead-token", "description": "wellhead token", "password": True}
        form = {"inputs": [asked], **form}
    return json.dumps(form, indent=2)
