"""Requests to the MCP endpoint as bytes on the wire, for what no well-behaved client would send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

MODERN = "2026-07-28"
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


@dataclass(frozen=True)
class Wire:
    """Speaks JSON-RPC to one server, in the stateless form of 2026-07-28 unless told otherwise."""

    http: httpx2.Client
    token: str = ""

    def ask(self, method: str, headers: Mapping[str, str] | None = None, /, **params: Any) -> httpx2.Response:
        """One request as a client sends it, with `headers` instead of its own where they are given."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta, **params}}
        named = {"Mcp-Name": str(params[_NAMED[method]])} if method in _NAMED else {}
        sent = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method, **named, **(headers or {})}
        return self.send(json.dumps(body).encode(), sent)

    def send(self, body: bytes, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """These bytes, with the headers that every request of the protocol has."""
        sent = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {self.token}"} if self.token else {}),
            **(headers or {}),
        }
        return self.http.post("/mcp", content=body, headers=sent)

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result or error object of one tool call."""
        return message(self.ask("tools/call", name=tool, arguments=arguments))


def message(response: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC message in a response, whether it came as JSON or as one event of a stream."""
    text = response.text
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        text = [line[5:] for line in text.splitlines() if line.startswith("data:")][-1]
    return json.loads(text)
