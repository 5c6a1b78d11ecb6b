"""Attacks on the transport, cases 1 to 19 of docs/threats.md that no other test holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import httpx2
import pytest
from mcp.server.request_state import RequestStateSecurity

from tests.conformance.fixture_server import fixture_app
from tests.mcp_server.callers import EU, OPERATOR, US
from tests.mcp_server.running import Running, running_server
from tests.mcp_server.wire import MODERN, Wire, message
from tests.workspace_factory import BuiltWorkspace

HEADER_MISMATCH = -32020
UNKNOWN_VERSION = -32022
INVALID_PARAMS = -32602


@pytest.fixture(scope="module")
def http(running: Running) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=running.origin, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def wire(running: Running, http: httpx2.Client) -> Wire:
    return Wire(http, running.token(EU))


def test_case_1_another_host_is_misdirected(wire: Wire) -> None:
    assert wire.ask("tools/list", {"Host": "evil.example"}).status_code == 421


def test_case_2_another_origin_is_forbidden(wire: Wire) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
        assert wire.ask("tools/list", {"Origin": origin}).status_code == 403


def test_case_5_a_token_for_another_audience_is_no_credential(running: Running, http: httpx2.Client) -> None:
    token = running.token(EU, audience="http://127.0.0.1:1/mcp")
    assert Wire(http, token).ask("tools/list").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Mcp-Method": "tools/list"},
        {"Mcp-Name": "discover"},
        {"Mcp-Name": "search, discover"},
    ],
)
def test_case_11_headers_that_contradict_the_body_are_refused(wire: Wire, headers: dict[str, str]) -> None:
    response = wire.ask("tools/call", headers, name="search", arguments={"question": "x"})
    assert response.status_code == 400
    assert message(response)["error"]["code"] in (HEADER_MISMATCH, -32600, INVALID_PARAMS)


def test_case_11_a_doubled_header_is_refused(wire: Wire) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": {}}}
    headers = [
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
        ("Authorization", f"Bearer {wire.token}"),
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Method", "tools/list"),
        ("Mcp-Name", "search"),
    ]
    response = wire.http.post("/mcp", content=json.dumps(body), headers=headers)
    assert response.status_code == 400


def test_case_12_a_batch_is_refused(wire: Wire) -> None:
    one = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    for headers in ({}, {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}):
        assert wire.send(json.dumps([one, one]).encode(), headers).status_code == 400


def test_case_13_a_body_over_the_limit_is_413_also_without_a_token_and_in_chunks(
    wire: Wire, running: Running
) -> None:
    big = b'{"jsonrpc": "2.0", "id": 1, "method": "' + b"x" * running.settings.max_request_bytes + b'"}'
    assert wire.send(big).status_code == 413
    assert Wire(wire.http).send(big).status_code == 413
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    chunks = (big[at : at + 65_536] for at in range(0, len(big), 65_536))
    assert wire.http.post("/mcp", content=chunks, headers=headers).status_code == 413


HOSTILE_JSON = [
    b"[" * 10_000,
    b'{"a":' * 10_000,
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":NaN,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"limit":1e400}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"question":"\\ud800"}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"question":"a\\u0000b"}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\\u0000","arguments":{}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"search"}',
    b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}',
    b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":1,"method":"' + b"9" * 5_000 + b'"}',
    b"\xff\xfe\x00",
    b"",
    b"null",
    b"1" * 5_000,
]


@pytest.mark.parametrize("body", HOSTILE_JSON, ids=range(len(HOSTILE_JSON)))
@pytest.mark.parametrize("version", ["2025-11-25", MODERN])
def test_case_14_hostile_json_is_a_clean_error_and_never_a_crash(wire: Wire, body: bytes, version: str) -> None:
    response = wire.send(body, {"MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": "search"})
    assert response.status_code < 500
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    "text", ["\ud800", "a\x00b", "\u202e" * 50, "%s%n", "${jndi:ldap://evil}", "'; --", "{{7*7}}"]
)
def test_case_14_odd_text_is_searched_for_like_any_other(wire: Wire, text: str) -> None:
    found = wire.call("search", question=text)
    assert found["result"]["structuredContent"]["status"] in ("ok", "failed")
    assert "made a mistake" not in json.dumps(found)


def test_case_15_an_unknown_version_is_named_with_those_that_are_served(wire: Wire) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/list",
        "params": {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2099-01-01",
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        },
    }
    response = wire.send(
        json.dumps(body).encode(), {"MCP-Protocol-Version": "2099-01-01", "Mcp-Method": "tools/list"}
    )
    assert response.status_code == 400
    assert message(response)["error"]["code"] == UNKNOWN_VERSION


def test_case_16_there_is_no_session_to_steal(wire: Wire) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "x", "version": "1"},
        },
    }
    first = wire.send(json.dumps(body).encode())
    assert first.status_code == 200
    assert "mcp-session-id" not in first.headers
    stream = wire.http.get(
        "/mcp", headers={"Accept": "text/event-stream", "Authorization": f"Bearer {wire.token}"}
    )
    assert stream.status_code in (400, 405, 406)


def test_case_18_a_cancellation_of_somebody_elses_request_does_nothing(
    running: Running, http: httpx2.Client
) -> None:
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    headers = {"MCP-Protocol-Version": "2025-11-25"}
    assert Wire(http, running.token(US)).send(json.dumps(cancel).encode(), headers).status_code == 202
    answered = Wire(http, running.token(EU)).call("query_metrics", metrics=["revenue"])
    assert answered["result"]["structuredContent"]["status"] == "ok"


def state_of(asked: dict[str, object]) -> str:
    return str(asked["result"]["requestState"])  # type: ignore[index]


def test_case_19_a_request_state_serves_its_caller_tool_and_arguments_only(
    tiny: BuiltWorkspace, caplog: pytest.LogCaptureFixture
) -> None:
    """No tool of ours keeps state with a client; the boundary is shown with the suite's fixtures on our stack."""
    with (
        running_server(tiny, fixture_app) as server,
        httpx2.Client(base_url=server.origin, timeout=30) as http,
        caplog.at_level(logging.WARNING),
    ):
        mine, other = Wire(http, server.token(OPERATOR)), Wire(http, server.token(EU))
        name = "test_input_required_result_request_state"
        confirmed = {"confirm": {"action": "accept", "content": {"ok": True}}}
        state = state_of(message(mine.ask("tools/call", name=name, arguments={})))
        ours = {"arguments": {}, "inputResponses": confirmed}

        def refused(wire: Wire, **params: object) -> bool:
            return message(wire.ask("tools/call", **params)).get("error", {}).get("code") == INVALID_PARAMS

        assert refused(mine, name=name, **ours, requestState=state[:-2] + "AA")
        assert refused(other, name=name, **ours, requestState=state)
        assert refused(mine, name=name, **{**ours, "arguments": {"x": 1}}, requestState=state)
        assert refused(mine, name="test_input_required_result_tampered_state", **ours, requestState=state)
        assert refused(mine, name=name, **ours, requestState=RequestStateSecurity.ephemeral().codec.seal(b"{}"))
        assert "requestState rejected" in caplog.text
        done = message(mine.ask("tools/call", name=name, **ours, requestState=state))
        assert "state-ok" in done["result"]["content"][0]["text"]
