"""A fuzzer of the protocol: whatever is sent, the answer is prompt, no server error, and shows no stack."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_server.arguments import input_schema
from mcp_server.service import Service
from mcp_server.session import Caller
from tests.mcp_server.callers import EU, OPERATOR
from tests.mcp_server.running import Running
from tests.mcp_server.wire import MODERN, Wire, message
from tests.workspace_factory import BuiltWorkspace

PATIENCE_SECONDS = 10.0
REPOSITORY = Path(__file__).parents[2]
STACK = ("Traceback", 'File "', ".py", "sqlglot", "pydantic", "duckdb.")
METHODS = (
    "initialize", "server/discover", "ping", "tools/list", "tools/call", "resources/list", "resources/read",
    "resources/templates/list", "prompts/list", "prompts/get", "completion/complete", "logging/setLevel",
    "subscriptions/listen", "tasks/get", "notifications/initialized", "notifications/cancelled", "rpc.discover",
)  # fmt: skip
FEW = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

odd_text = st.one_of(
    st.text(max_size=30), st.sampled_from(["", "\x00", "\ud800", "../..", "*", "' OR 1=1 --", "🙂" * 9])
)
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), odd_text)
anything = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_text, inner, max_size=4), max_leaves=12
)
names = st.one_of(
    st.sampled_from(["search", "query_metrics", "lookup", "fetch", "describe", "release", "status"]), odd_text
)
params = st.one_of(
    anything,
    st.fixed_dictionaries(
        {},
        optional={
            "name": names,
            "uri": odd_text,
            "arguments": anything,
            "cursor": odd_text,
            "ref": anything,
            "argument": anything,
            "inputResponses": anything,
            "requestState": anything,
            "_meta": st.one_of(
                anything,
                st.just(
                    {
                        "io.modelcontextprotocol/protocolVersion": MODERN,
                        "io.modelcontextprotocol/clientCapabilities": {},
                    }
                ),
            ),
        },
    ),
)
messages = st.fixed_dictionaries(
    {"jsonrpc": st.one_of(st.just("2.0"), plain), "method": st.one_of(st.sampled_from(METHODS), plain)},
    optional={"id": st.one_of(st.integers(), odd_text, plain), "params": params},
)
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip)
headers = st.fixed_dictionaries(
    {},
    optional={
        "MCP-Protocol-Version": st.one_of(st.sampled_from([MODERN, "2025-11-25", "2024-11-05"]), header_text),
        "Mcp-Method": st.one_of(st.sampled_from(METHODS), header_text),
        "Mcp-Name": header_text,
        "Mcp-Session-Id": header_text,
        "Last-Event-ID": header_text,
        "Content-Type": st.sampled_from(["application/json", "text/plain", "application/json; charset=utf-16"]),
        "Accept": st.sampled_from(["*/*", "application/json", "text/event-stream", "text/html"]),
    },
)


@pytest.fixture(scope="module")
def wire(running: Running) -> Iterator[Wire]:
    with httpx2.Client(base_url=running.origin, timeout=PATIENCE_SECONDS) as http:
        yield Wire(http, running.token(OPERATOR))


def check(response: httpx2.Response, started: float) -> None:
    assert time.monotonic() - started < PATIENCE_SECONDS
    assert response.status_code < 500, response.text
    assert not any(mark in response.text for mark in STACK[:2]), response.text
    if response.text and "json" in response.headers.get("content-type", ""):
        in_due_form(response.json())


def in_due_form(answer: dict[str, Any]) -> None:
    """Each answer is a response of JSON-RPC, or where there was no message at all, a problem (RFC 9457)."""
    if "jsonrpc" not in answer:
        assert {"title", "status", "code"} <= answer.keys(), answer
        return
    assert ("result" in answer) != ("error" in answer), answer
    if "error" in answer:
        assert isinstance(answer["error"]["code"], int)
        assert answer["error"]["message"]


VALID: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": "discover",
        "arguments": {"limit": 1},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}
no_object = st.one_of(st.none(), st.booleans(), st.integers(), odd_text, st.lists(plain, max_size=2))
no_text = st.one_of(st.none(), st.booleans(), st.integers(), st.lists(plain, max_size=2), st.just({}))
broken = st.one_of(
    st.builds(lambda value: {**VALID, "jsonrpc": value}, plain.filter(lambda one: one != "2.0")),
    st.builds(lambda value: {**VALID, "method": value}, no_text),
    st.builds(lambda value: {**VALID, "id": value}, st.one_of(st.lists(plain, max_size=2), st.just({}))),
    st.builds(lambda value: {**VALID, "params": value}, no_object.filter(lambda one: one is not None)),
    st.builds(lambda value: {**VALID, "params": {**VALID["params"], "name": value}}, no_text),
    st.builds(
        lambda value: {**VALID, "params": {**VALID["params"], "arguments": value}},
        no_object.filter(lambda one: one is not None),
    ),
    st.builds(
        lambda method, cursor: {**VALID, "method": method, "params": {**VALID["params"], "cursor": cursor}},
        st.sampled_from(["tools/list", "prompts/list", "resources/list", "resources/templates/list"]),
        st.text(min_size=1, max_size=30),
    ),
    st.sampled_from([[VALID], [VALID, VALID], {}, {"jsonrpc": "2.0"}, {"result": {}, "id": 1, "jsonrpc": "2.0"}]),
    st.sampled_from(sorted(VALID))
    .filter(lambda name: name != "id")
    .map(lambda left_out: {name: value for name, value in VALID.items() if name != left_out}),
)
"""A good call with one thing wrong about it: none of these may ever be carried out."""


@FEW
@given(body=broken)
@pytest.mark.parametrize("version", [MODERN, "2025-11-25"])
def test_a_message_with_one_thing_wrong_is_never_accepted(wire: Wire, version: str, body: Any) -> None:
    method = body.get("method") if isinstance(body, dict) else ""
    named = {"Mcp-Method": method if isinstance(method, str) else "tools/call", "Mcp-Name": "discover"}
    text = json.dumps(body).encode()
    started = time.monotonic()
    response = wire.send(text, {"MCP-Protocol-Version": version, **(named if version == MODERN else {})})
    check(response, started)
    found = message(response) if response.status_code == 200 else {}
    assert "result" not in found or found["result"].get("isError"), (body, found)


@FEW
@given(
    lines=st.lists(st.binary(max_size=60).map(lambda one: one.replace(b"\n", b"")), max_size=6),
    body=st.binary(max_size=80),
    begin=st.sampled_from(
        [b"POST /mcp HTTP/1.1", b"GET /mcp HTTP/1.1", b"POST /api/tools/search HTTP/1.1", b"\x16\x03"]
    ),
)
def test_any_bytes_on_a_connection_end_in_an_answer_or_a_close(
    running: Running, lines: list[bytes], body: bytes, begin: bytes
) -> None:
    length = b"Content-Length: %d" % len(body)
    with socket.create_connection((running.settings.host, running.settings.port), PATIENCE_SECONDS) as raw:
        raw.sendall(b"\r\n".join([begin, b"Host: localhost", b"Connection: close", length, *lines, b"", body]))
        raw.shutdown(socket.SHUT_WR)
        answer = b""
        while part := raw.recv(65_536):
            answer += part
    assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert not any(mark.encode() in answer for mark in STACK[:2]), answer


@FEW
@given(body=st.one_of(messages, st.lists(messages, max_size=3), anything), sent=headers)
def test_any_message_is_answered(wire: Wire, body: Any, sent: dict[str, str]) -> None:
    started = time.monotonic()
    check(wire.send(json.dumps(body).encode(), sent), started)


@FEW
@given(body=st.binary(max_size=300), sent=headers)
def test_any_bytes_are_answered(wire: Wire, body: bytes, sent: dict[str, str]) -> None:
    started = time.monotonic()
    check(wire.send(body, sent), started)


@FEW
@given(name=names, arguments=st.dictionaries(odd_text, anything, max_size=4))
def test_any_call_in_due_form_is_answered(wire: Wire, name: str, arguments: dict[str, Any]) -> None:
    started = time.monotonic()
    asked = wire.ask("tools/call", {"Mcp-Name": "search"}, name=name, arguments=arguments)
    check(asked, started)


def arguments_like(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments with the tool's own names and odd values, most of them of the right type."""
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "string": odd_text,
        "integer": st.integers(-3, 2_000),
        "boolean": st.booleans(),
        "array": st.lists(odd_text, max_size=3),
        "object": st.dictionaries(odd_text, anything, max_size=3),
    }
    values = {
        name: st.one_of(
            st.sampled_from(one["enum"]) if "enum" in one else kinds.get(str(one.get("type")), anything), anything
        )
        for name, one in schema["properties"].items()
    }
    return st.fixed_dictionaries({}, optional=values)


@settings(FEW, max_examples=25)
@given(data=st.data())
@pytest.mark.parametrize(
    "tool",
    ["discover", "describe", "search", "fetch", "query_metrics", "dimension_values", "lookup", "trace", "release"],
)
def test_odd_arguments_of_a_tool_are_answered_and_never_a_mistake_of_ours(
    service: Service, tool: str, data: st.DataObject
) -> None:
    asked = data.draw(arguments_like(input_schema(service.tools[tool].arguments)))
    if tool == "release" and asked.get("action") not in ("list", "diff"):
        asked["action"] = "list"
    answer = service.call(Caller(EU, "http", "fuzzer"), tool, asked)
    assert answer.error is None or answer.error.code != "internal", (asked, answer.error)
    assert not any(mark in answer.to_text() for mark in STACK), answer.to_text()


class Pipe:
    """A server on standard input and output, after its handshake."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-m", "wellhead", "--workspace", str(root), "serve", "--no-worker"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=REPOSITORY
        )
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._numbers = itertools.count(1_000_000)
        threading.Thread(target=self._read, daemon=True).start()
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        self.answered(b"", {"method": "initialize", "params": client}, 60.0)

    def answered(
        self, odd: bytes, request: dict[str, Any], seconds: float = PATIENCE_SECONDS
    ) -> list[dict[str, Any]]:
        """Everything that comes back up to the answer of a good request that follows these bytes."""
        number = next(self._numbers)
        good = json.dumps({"jsonrpc": "2.0", "id": number, **request}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(odd + b"\n" + good + b"\n")
        self.process.stdin.flush()
        found: list[dict[str, Any]] = []
        while True:
            line = self._answers.get(timeout=seconds)
            assert not any(mark.encode() in line for mark in STACK[:2]), line
            found.append(json.loads(line))
            if found[-1].get("id") == number:
                return found

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(line)


@pytest.fixture(scope="module")
def pipe(tiny: BuiltWorkspace) -> Iterator[Pipe]:
    with contextlib.closing(Pipe(tiny.root)) as opened:
        yield opened


@FEW
@given(
    odd=st.one_of(st.binary(max_size=200), st.one_of(messages, anything).map(lambda one: json.dumps(one).encode()))
)
def test_any_line_on_standard_input_leaves_a_server_that_answers_the_next(pipe: Pipe, odd: bytes) -> None:
    found = pipe.answered(odd.replace(b"\n", b" "), {"method": "ping", "params": {}})
    for answer in found:
        in_due_form(answer)
    assert found[-1]["result"] == {}
