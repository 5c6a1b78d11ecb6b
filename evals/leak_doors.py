"""The doors that a leak test knocks at: MCP, its REST twin and the command line; each gives back every byte it says."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evals.front_door import FrontDoor, Serving
from evals.leak_world import TENANTS
from evals.wire import PROTOCOL, TIMEOUT_SECONDS
from semantic_layer.errors import EngineUnavailable

Door = Literal["mcp", "rest", "cli"]
SCOPES = ("read", "sql")
NOBODY, ANONYMOUS = "nobody", "anonymous"
CALLERS = (*TENANTS, NOBODY, ANONYMOUS)
"""Each tenant, a caller of no tenant, and one without a token."""


@dataclass(frozen=True)
class Probe:
    """One request: by whom, through which door, an MCP method with its parameters, or a tool with its arguments."""

    caller: str
    door: Door
    method: str
    name: str
    arguments: Mapping[str, Any]

    @property
    def text(self) -> str:
        """Everything that the caller itself said."""
        return json.dumps([self.method, self.name, self.arguments], ensure_ascii=False)


@dataclass(frozen=True)
class Reply:
    """Everything that came back, and the tool's structured answer in it where there is one."""

    status: int
    body: str
    answer: Mapping[str, Any]

    @property
    def seen(self) -> str:
        """The reply with JSON's escapes undone, so that a word cannot hide behind them."""
        try:
            return self.body + json.dumps(json.loads(self.body), ensure_ascii=False)
        except ValueError:
            return self.body


class Doors:
    """The doors of one running server. Connections are kept, one a caller. Not for several threads."""

    def __init__(self, front: FrontDoor, serving: Serving) -> None:
        self._front = front
        self._serving = serving
        self._connections: dict[str, http.client.HTTPConnection] = {}
        self._tokens: dict[str, str] = {}
        self._calls = 0

    def knock(self, probe: Probe) -> Reply:
        """Send a probe. Raises EngineUnavailable where the server does not answer."""
        self._calls += 1
        doors: Mapping[Door, Callable[[Probe], Reply]] = {"mcp": self._mcp, "rest": self._rest, "cli": self._cli}
        return doors[probe.door](probe)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()

    def _mcp(self, probe: Probe) -> Reply:
        meta = {
            "io.modelcontextprotocol/protocolVersion": PROTOCOL,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "wellhead-leak-test", "version": "1"},
        }
        params: dict[str, Any] = {"_meta": meta}
        headers = {"Mcp-Method": probe.method, "MCP-Protocol-Version": PROTOCOL}
        if probe.method == "tools/call":
            params |= {"name": probe.name, "arguments": dict(probe.arguments)}
        else:
            params |= probe.arguments
        named = params.get("name") or params.get("uri")
        if named:
            headers["Mcp-Name"] = _header(str(named))
        request = {"jsonrpc": "2.0", "id": self._calls, "method": probe.method, "params": params}
        status, body = self._post(probe.caller, "/mcp", request, headers)
        return Reply(status, body, _structured(body))

    def _rest(self, probe: Probe) -> Reply:
        status, body = self._post(probe.caller, f"/api/tools/{probe.name}", dict(probe.arguments), {})
        found = _json(body)
        return Reply(status, body, found if "receipt" in found else {})

    def _cli(self, probe: Probe) -> Reply:
        arguments = [probe.name, *(str(word) for word in probe.arguments["words"])]
        command = [*arguments, "--as", json.dumps(claims(probe.caller)), "--json"]
        done: subprocess.CompletedProcess[str] = self._front.start(*command)
        return Reply(done.returncode, done.stdout + done.stderr, _json(done.stdout))

    def _post(self, caller: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, str]:
        sent = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json", **headers}
        if caller != ANONYMOUS:
            if caller not in self._tokens:
                self._tokens[caller] = _token(self._front, self._serving, caller)
            sent["Authorization"] = f"Bearer {self._tokens[caller]}"
        content = json.dumps(body).encode()
        try:
            return self._sent(caller, path, content, sent)
        except (http.client.HTTPException, ConnectionError):
            self._connections.pop(caller).close()  # the server closes what was idle for long
        try:
            return self._sent(caller, path, content, sent)
        except (http.client.HTTPException, OSError) as error:
            raise EngineUnavailable(f"the server does not answer: {error!r}.", hint="See its log.") from error

    def _sent(self, caller: str, path: str, content: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        connection = self._connections.get(caller)
        if connection is None:
            connection = http.client.HTTPConnection(
                self._serving.host, self._serving.port, timeout=TIMEOUT_SECONDS
            )
            self._connections[caller] = connection
        connection.request("POST", path, content, dict(headers))
        response = connection.getresponse()
        said = response.read().decode("utf-8", "replace")
        return response.status, "\n".join(
            f"{name}: {value}" for name, value in response.getheaders()
        ) + "\n\n" + said


def claims(caller: str) -> dict[str, Any]:
    """Who a caller is, as a token or `--as` says it."""
    if caller in TENANTS:
        return {"roles": ["tenant", caller], "attributes": {"house": caller}, "scopes": list(SCOPES)}
    return {"roles": ["tenant"] if caller == NOBODY else ["public"], "scopes": list(SCOPES)}


def _token(front: FrontDoor, serving: Serving, caller: str) -> str:
    held = claims(caller)
    words = [word for role in held["roles"] for word in ("--role", role)]
    words += [word for scope in held["scopes"] for word in ("--scope", scope)]
    words += ["--attributes", json.dumps(held.get("attributes", {})), "--audience", serving.url, "--json"]
    return str(json.loads(front.run("token", "--subject", caller, *words))["token"])


def _header(value: str) -> str:
    return value.encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " ")[:500]


def _structured(body: str) -> Mapping[str, Any]:
    result = _json(body).get("result")
    return result.get("structuredContent") or {} if isinstance(result, dict) else {}


def _json(body: str) -> dict[str, Any]:
    """The JSON object at the end of a reply; empty where there is none."""
    text = body.split("\n\n", 1)[-1]
    if text.startswith("event:") or "\ndata: " in text:
        text = text.rsplit("data: ", 1)[-1]
    try:
        found: Any = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
