"""A fuzzer of the protocol: whatever is sent, the answer is prompt, no server error, and shows no stack."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
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
from tests.mcp_server.wire import MODERN, Wire

PATIENCE_SECONDS = 10.0
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
