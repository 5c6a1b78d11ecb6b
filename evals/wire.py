"""Calls a running server's tools over the wire, as an MCP client does, with nothing but HTTP and JSON."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from semantic_layer.errors import EngineUnavailable, Refused, WellheadError

PROTOCOL = "2026-07-28"
TIMEOUT_SECONDS = 60.0


class McpConnection:
    """One kept connection to an MCP endpoint in the stateless era of the protocol: each call is one POST.

    `token` is a bearer token; without one the caller is anonymous. Not for several threads.
    """

    def __init__(self, host: str, port: int, token: str = "") -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        self._token = token
        self._calls = 0

    def call(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The tool's structured answer. Raises Refused, or WellheadError or EngineUnavailable with what it said."""
        self._calls += 1
        body = json.dumps(request_of(self._calls, tool, arguments)).encode()
        try:
            self._connection.request("POST", "/mcp", body, self._headers(tool))
            response = self._connection.getresponse()
            said = response.read()
        except OSError as error:
            raise EngineUnavailable(f"the server does not answer: {error}.", hint="Is it running?") from error
        return answer_of(response.status, said)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _headers(self, tool: str) -> dict[str, str]:
        return headers_of(tool) | ({"Authorization": f"Bearer {self._token}"} if self._token else {})


def headers_of(tool: str) -> dict[str, str]:
    """The HTTP headers of a `tools/call` in that revision, the credential aside."""
    return {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": PROTOCOL,
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }


def request_of(number: int, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A `tools/call` that stands for itself, as revision 2026-07-28 of MCP has it: no handshake, no session."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "wellhead-evals", "version": "1"},
    }
    params = {"name": tool, "arguments": dict(arguments), "_meta": meta}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def answer_of(status: int, body: bytes) -> dict[str, Any]:
    """The structured answer in a response. Raises Refused, or WellheadError with what the server said."""
    try:
        message: dict[str, Any] = json.loads(body)
    except ValueError:
        raise WellheadError(f"the server answered {status} without JSON: {body[:200]!r}.") from None
    if "result" not in message:
        raise WellheadError(f"the server answered {status}: {json.dumps(message)[:500]}.")
    answer: dict[str, Any] = message["result"].get("structuredContent") or {}
    if answer.get("status") == "refused":
        raise Refused(json.dumps(answer.get("data"))[:500], rule="")
    if message["result"].get("isError"):
        raise WellheadError(f"the tool failed: {json.dumps(answer.get('data'))[:500]}.")
    return answer
