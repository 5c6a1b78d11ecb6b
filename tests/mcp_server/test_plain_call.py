"""A call in good order takes a shorter way to the same answer; whatever is not in good order does not take it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_server import plain_call
from mcp_server.app import build_app
from mcp_server.plain_call import PlainCalls
from mcp_server.plain_request import PlainCall, named_in
from mcp_server.service import Service
from semantic_layer.principal import Principal
from tests.mcp_server.callers import EU, OPERATOR
from tests.mcp_server.running import Running, running_server
from tests.mcp_server.test_progress import LONG_SECONDS, SLOW
from tests.mcp_server.wire import MODERN, Wire, message
from tests.workspace_factory import BuiltWorkspace

THE_SDKS = {"Content-Type": "application/json; charset=utf-8"}
"""Said like this, the same request is the SDK's to answer."""
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
OF_ITS_OWN = re.compile(
    r"\ba-\d{8}T\d{6}-[0-9a-f]{12}|data-[0-9a-f]{8}|\"ms\": ?[\d.]+|\"next_cursor\": \"[^\"]+|wellhead://result/[^\"]+"
)
"""What differs between two answers to the same question: audit id, marker, time, and cursors, which end with time."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tools whose calls took the short way."""
    taken: list[str] = []
    own = PlainCalls._answer  # pyright: ignore[reportPrivateUsage]

    async def noted(self: PlainCalls, call: PlainCall, *given: Any) -> None:
        taken.append(call.tool)
        await own(self, call, *given)

    monkeypatch.setattr(PlainCalls, "_answer", noted)
    return taken


@pytest.fixture
def wire(running: Running) -> Iterator[Wire]:
    """An analyst."""
    with httpx2.Client(base_url=running.origin, timeout=30) as http:
        yield Wire(http, running.token(EU))


def told(response: httpx2.Response) -> tuple[int, str]:
    """Status and message of a response, without what is its own."""
    return response.status_code, OF_ITS_OWN.sub("", json.dumps(message(response), sort_keys=True))


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("status", {}),
    ("discover", {"query": "revenue"}),
    ("search", {"question": "target margin for boots", "limit": 2}),
    ("search", {"question": "margin", "limit": 1, "response_format": "detailed"}),
    ("query_metrics", {"metrics": ["revenue"], "dimensions": ["region"]}),
    ("query_metrics", {"metrics": ["no such"]}),
    ("lookup", {"product": "sales", "dataset": "orders", "limit": 3}),
    ("lookup", {"product": "sales", "dataset": "orders", "key": None}),
    ("fetch", {"ref": "nothing"}),
    ("search", {"question": "x", "filter": {}}),
    ("search", {"question": "\ud800 \u202e <img src=x>"}),
    ("trace", {"audit_id": "a-0"}),
]


@pytest.mark.parametrize(("tool", "arguments"), CALLS)
def test_the_short_way_gives_the_answer_of_the_long_one(
    wire: Wire, short: list[str], tool: str, arguments: dict[str, Any]
) -> None:
    quick = wire.ask("tools/call", name=tool, arguments=arguments)
    assert short == [tool]
    long = wire.ask("tools/call", THE_SDKS, name=tool, arguments=arguments)
    assert short == [tool]
    assert told(quick) == told(long)
    assert quick.headers["content-type"] == long.headers["content-type"]


def changed(params: Mapping[str, Any] | None = None, **top: Any) -> bytes:
    asked = {"name": "status", "arguments": {}, "_meta": META, **(params or {})}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked, **top}).encode()


def without(name: str) -> bytes:
    body = json.loads(changed())
    del body["params"][name]
    return json.dumps(body).encode()


NAMED = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "status"}
EXTENSION = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
NOT_IN_ORDER: dict[str, tuple[bytes, dict[str, str]]] = {
    "another tool in the body": (changed({"name": "search"}), {}),
    "another revision in the body": (
        changed({"_meta": {**META, "io.modelcontextprotocol/protocolVersion": "2025-11-25"}}),
        {},
    ),
    "an unknown tool": (changed({"name": "nope"}), {"Mcp-Name": "nope"}),
    "an operator's tool": (changed({"name": "ingest"}), {"Mcp-Name": "ingest"}),
    "another method in the header": (changed(), {"Mcp-Method": "tools/list"}),
    "another method in the body": (changed(method="tools/list"), {}),
    "no envelope": (without("_meta"), {}),
    "no capabilities": (changed({"_meta": {"io.modelcontextprotocol/protocolVersion": MODERN}}), {}),
    "a client without a name": (changed({"_meta": {**META, "io.modelcontextprotocol/clientInfo": {}}}), {}),
    "an extension": (changed({"_meta": {**META, "io.modelcontextprotocol/clientCapabilities": EXTENSION}}), {}),
    "progress": (changed({"_meta": {**META, "progressToken": 1}}), {}),
    "a trace": (changed({"_meta": {**META, "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}}), {}),
    "what was asked back": (changed({"inputResponses": {}}), {}),
    "arguments that are no object": (changed({"arguments": [1]}), {}),
    "an id that is no id": (changed(id=True), {}),
    "no id": (changed(id=None), {}),
    "another version of JSON-RPC": (changed(jsonrpc="1.0"), {}),
    "more beside the call": (changed(more=1), {}),
    "a batch": (b"[" + changed() + b"]", {}),
    "no JSON": (b"{", {}),
    "a parameter's header": (changed(), {"Mcp-Param-Job": "x"}),
    "JSON alone accepted": (changed(), {"Accept": "application/json"}),
    "another type": (changed(), {"Content-Type": "text/plain"}),
    "an unknown revision": (changed(), {"MCP-Protocol-Version": "2027-01-01"}),
}


@pytest.mark.parametrize("case", NOT_IN_ORDER)
def test_what_is_not_in_good_order_is_left_to_the_sdk(wire: Wire, short: list[str], case: str) -> None:
    body, headers = NOT_IN_ORDER[case]
    response = wire.send(body, {**NAMED, **headers})
    assert short == []
    assert response.status_code < 500


def test_a_header_twice_and_a_body_in_pieces_are_left_to_the_sdk(running: Running, short: list[str]) -> None:
    held = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json", **NAMED}
    token = ("Authorization", f"Bearer {running.token(EU)}")
    with httpx2.Client(base_url=running.origin) as http:
        doubled = http.post("/mcp", content=changed(), headers=[*held.items(), token, ("Mcp-Name", "status")])
        pieces = http.post("/mcp", content=iter([changed()]), headers=[*held.items(), token])
    assert (doubled.status_code, pieces.status_code, short) == (400, 200, [])


@pytest.mark.parametrize(
    ("size", "plain"), [("17", True), ("", False), ("-1", False), ("99", False), ("9" * 5_000, False)]
)
def test_only_a_length_within_the_limit_is_in_good_order(size: str, plain: bool) -> None:
    sent = {**NAMED, "Accept": "text/event-stream, application/json", "Content-Type": "application/json"}
    headers = [(name.lower().encode(), value.encode()) for name, value in {**sent, "Content-Length": size}.items()]
    assert (named_in(headers, 50) is not None) == plain


values = st.sampled_from(
    ["status", "search", "", 1, -1, 2**70, 1.5, True, None, [], {}, {"question": "boots"}, {"product": "x"}, META]
)
bodies = st.fixed_dictionaries(
    {"jsonrpc": st.sampled_from(["2.0", "2.0", "1.0"]), "method": st.sampled_from(["tools/call", "tools/list"])},
    optional={
        "id": values,
        "params": st.one_of(
            values,
            st.fixed_dictionaries(
                {"name": values},
                optional={"arguments": values, "_meta": st.one_of(st.just(META), values), "cursor": values},
            ),
        ),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, tool=st.sampled_from(["status", "search", "ingest", "x"]), whole=st.booleans())
def test_whatever_is_sent_is_answered_alike_on_both_ways(wire: Wire, body: Any, tool: str, whole: bool) -> None:
    if whole:
        body = {**body, "id": 7, "params": {"_meta": META, "name": tool, "arguments": {}}}
    headers = {**NAMED, "Mcp-Name": tool}
    quick, long = (wire.send(json.dumps(body).encode(), {**headers, **way}) for way in ({}, THE_SDKS))
    assert quick.status_code == long.status_code
    if quick.content or long.content:
        assert told(quick) == told(long)


@pytest.mark.parametrize("caller", [None, OPERATOR])
def test_the_short_way_answers_by_the_rights_of_whoever_asks(
    running: Running, short: list[str], caller: Principal | None
) -> None:
    with httpx2.Client(base_url=running.origin, timeout=30) as http:
        asked = Wire(http, running.token(caller) if caller else "")
        quick = asked.ask("tools/call", name="search", arguments={"question": "target margin for boots"})
        long = asked.ask("tools/call", THE_SDKS, name="search", arguments={"question": "target margin for boots"})
    assert short == ["search"]
    assert told(quick) == told(long)
    assert "eu-margins.md" not in quick.text


@pytest.fixture
def slow(tiny: BuiltWorkspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server with a tool that takes long, and a short patience before it shows that it is there."""
    monkeypatch.setattr(plain_call, "PING_SECONDS", LONG_SECONDS / 4)

    def made(service: Service) -> Any:
        return build_app(replace(service, tools={**service.tools, "slow": SLOW}))

    with running_server(tiny, made) as server:
        yield server


def test_a_long_call_on_the_short_way_shows_that_it_runs(slow: Running, short: list[str]) -> None:
    with httpx2.Client(base_url=slow.origin, timeout=30) as http:
        response = Wire(http, slow.token(EU)).ask("tools/call", name="slow", arguments={})
    assert short == ["slow"]
    assert response.text.startswith(" ")
    assert response.json()["result"]["content"][0]["text"].startswith("done")


def test_a_failure_of_the_server_is_told_without_a_stack(
    wire: Wire, short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(plain_call, "result_link", fail)
    response = wire.ask("tools/call", name="status", arguments={})
    assert (short, response.status_code) == (["status"], 200)
    assert message(response)["error"] == {"code": -32603, "message": "Internal server error"}


def test_calls_at_once_on_the_short_way_get_their_own_answers(running: Running, short: list[str]) -> None:
    got: dict[int, Any] = {}

    def ask(number: int) -> None:
        with httpx2.Client(base_url=running.origin, timeout=30) as http:
            response = Wire(http, running.token(EU)).send(changed(id=number), NAMED)
            got[number] = response.json()["id"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {number: number for number in range(8)}
    assert short == ["status"] * 8
