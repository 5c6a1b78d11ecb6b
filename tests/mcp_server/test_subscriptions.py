"""Clients that listen hear what changed for them, and of nothing that does not exist for them."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.subscriptions import Subscription
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent
from mcp.types import ResourceUpdatedNotification

from indexes.ledger import Ledger
from mcp_server import subscriptions
from mcp_server.overload import listens
from mcp_server.serving import GRACE_SECONDS
from tests.mcp_server.callers import EU, US
from tests.mcp_server.running import Running, running_server
from tests.mcp_server.test_protocol import client
from tests.mcp_server.wire import MODERN, Wire
from tests.workspace_factory import BuiltWorkspace

pytestmark = pytest.mark.anyio
PATIENCE_SECONDS = 20.0
SALES, HANDBOOK = "dp://sales", "dp://handbook"


@pytest.fixture
def own(tiny: BuiltWorkspace, tmp_path: Path) -> BuiltWorkspace:
    shutil.copytree(tiny.root, tmp_path / "own", symlinks=True)
    return BuiltWorkspace(tmp_path / "own")


@pytest.fixture
def server(own: BuiltWorkspace) -> Iterator[Running]:
    with running_server(own, refresh_seconds=0.05) as running:
        yield running


async def heard(stream: Subscription, many: int = 1) -> set[ServerEvent]:
    with anyio.fail_after(PATIENCE_SECONDS):
        return {await anext(stream) for _ in range(many)}


def with_group_size(ledger: Ledger, product: str, size: int) -> None:
    document: Mapping[str, Any] = ledger.policies().documents[product]
    ledger.publish_policies({product: {**document, "minimum_group_size": size}}, by="test")


async def test_a_policy_is_told_to_those_who_see_the_product_and_to_nobody_else(
    server: Running, own: BuiltWorkspace
) -> None:
    ledger, both = Ledger(own.home), [SALES, HANDBOOK]
    async with (
        client(server, EU, MODERN) as eva,
        client(server, None, MODERN) as nobody,
        eva.listen(resource_subscriptions=both, resources_list_changed=True) as hers,
        nobody.listen(resource_subscriptions=both, resources_list_changed=True) as theirs,
    ):
        with_group_size(ledger, "sales", 2)
        assert await heard(hers) == {ResourceUpdated(SALES)}
        with_group_size(ledger, "handbook", 2)
        assert await heard(hers) == {ResourceUpdated(HANDBOOK)}
        assert await heard(theirs) == {ResourceUpdated(HANDBOOK)}


async def test_a_product_that_goes_changes_the_list_and_itself(server: Running, own: BuiltWorkspace) -> None:
    ledger = Ledger(own.home)
    watched = ["metric://sales/revenue", "dp://sales/orders", "dp://sales/no_such", HANDBOOK]
    async with (
        client(server, EU, MODERN) as eva,
        eva.listen(resource_subscriptions=watched, resources_list_changed=True) as stream,
    ):
        before = ledger.edition()
        ledger.publish(before, {"sales": None}, action="withdraw", by="test")
        gone = {ResourcesListChanged(), ResourceUpdated(watched[0]), ResourceUpdated(watched[1])}
        assert await heard(stream, 3) == gone
        ledger.publish(ledger.edition(), dict(before.products), action="rollback", by="test")
        assert await heard(stream, 3) == gone
        with_group_size(ledger, "handbook", 3)
        assert await heard(stream) == {ResourceUpdated(HANDBOOK)}, "nothing was told of what never was"


async def test_a_stream_that_was_not_asked_for_an_event_does_not_get_it(
    server: Running, own: BuiltWorkspace
) -> None:
    ledger = Ledger(own.home)
    async with (
        client(server, EU, MODERN) as eva,
        eva.listen(resource_subscriptions=[HANDBOOK]) as stream,
    ):
        ledger.publish(ledger.edition(), {"sales": None}, action="withdraw", by="test")
        with_group_size(ledger, "handbook", 2)
        assert await heard(stream) == {ResourceUpdated(HANDBOOK)}


async def test_a_stream_ends_in_due_form_when_its_time_is_over(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "LISTEN_SECONDS", 0.2)
    async with client(running, EU, MODERN) as eva, eva.listen(resources_list_changed=True) as stream:
        with anyio.fail_after(PATIENCE_SECONDS):
            assert [event async for event in stream] == []


async def test_open_streams_keep_nobody_out_and_a_stopping_server_ends_them(tiny: BuiltWorkspace) -> None:
    async with contextlib.AsyncExitStack() as opened:
        stopping = contextlib.ExitStack()
        server = stopping.enter_context(running_server(tiny, concurrent_calls=1, waiting_calls=1))
        eva = await opened.enter_async_context(client(server, EU, MODERN))
        listening = [eva.listen(resources_list_changed=True) for _ in range(20)]
        streams = [await opened.enter_async_context(one) for one in listening]
        assert not (await eva.call_tool("discover", {})).is_error
        started = time.monotonic()
        await anyio.to_thread.run_sync(stopping.close)
        assert time.monotonic() - started < GRACE_SECONDS
        with anyio.fail_after(PATIENCE_SECONDS):
            for stream in streams:
                assert [event async for event in stream] == []


async def test_who_watches_too_much_is_told(running: Running) -> None:
    async with client(running, EU, MODERN) as eva:
        with pytest.raises(MCPError, match="at most 100 items"):
            await opened(eva, [f"dp://sales/{n}" for n in range(101)])


async def test_case_17_one_caller_cannot_take_every_stream(
    tiny: BuiltWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MOST_STREAMS", 2)
    with running_server(tiny) as server:
        async with client(server, EU, MODERN) as eva, client(server, US, MODERN) as uma:
            async with eva.listen(resources_list_changed=True), eva.listen(resources_list_changed=True):
                with pytest.raises(MCPError, match="too many streams"):
                    await opened(eva, [])
                await opened(uma, [SALES])
            with anyio.fail_after(PATIENCE_SECONDS):
                while not await admitted(eva):  # the server hears of a stream's end a moment after its client
                    pass


async def admitted(eva: Client) -> bool:
    try:
        await opened(eva, [])
    except MCPError:
        return False
    return True


async def opened(eva: Client, watched: list[str]) -> None:
    async with eva.listen(resource_subscriptions=watched, resources_list_changed=True):
        pass


@pytest.mark.parametrize(
    ("headers", "believed"),
    [
        ([(b"mcp-method", b"subscriptions/listen"), (b"mcp-protocol-version", MODERN.encode())], True),
        ([(b"mcp-method", b"subscriptions/listen")], False),
        ([(b"mcp-method", b"subscriptions/listen"), (b"mcp-protocol-version", b"2025-11-25")], False),
        ([(b"mcp-method", b"tools/call"), (b"mcp-protocol-version", MODERN.encode())], False),
        (
            [
                (b"mcp-method", b"subscriptions/listen"),
                (b"mcp-protocol-version", b"2025-11-25"),
                (b"mcp-protocol-version", MODERN.encode()),
            ],
            False,
        ),
    ],
)
def test_only_the_headers_that_the_protocol_checks_make_a_request_a_stream(
    headers: list[tuple[bytes, bytes]], believed: bool
) -> None:
    assert listens({"headers": headers}) is believed


def test_a_call_that_says_it_is_a_stream_is_refused(running: Running) -> None:
    with httpx2.Client(base_url=running.origin, timeout=30) as http:
        wire = Wire(http, running.token(EU))
        assert wire.ask("tools/call", {"Mcp-Method": "subscriptions/listen"}, name="discover").status_code == 400
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "discover"}}
        sent = {"Mcp-Method": "subscriptions/listen", "MCP-Protocol-Version": MODERN}
        assert wire.send(json.dumps(body).encode(), sent).status_code == 400


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_client_of_the_handshake_era_subscribes_over_stdio_and_is_not_promised_it_over_http(
    own: BuiltWorkspace, running: Running
) -> None:
    updated: list[str] = []
    news = anyio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            updated.append(str(message.params.uri))
            news.set()

    command = StdioServerParameters(
        command=sys.executable, args=["-m", "wellhead", "--workspace", str(own.root), "serve", "--no-worker"]
    )
    with anyio.fail_after(60):
        async with Client(command, mode="legacy", message_handler=hear) as desktop:
            announced = desktop.server_capabilities.resources
            assert announced is not None
            assert announced.subscribe
            for uri in (SALES, HANDBOOK):
                await desktop.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]
            await desktop.unsubscribe_resource(HANDBOOK)  # pyright: ignore[reportDeprecated]
            ledger = Ledger(own.home)
            with_group_size(ledger, "handbook", 2)
            with_group_size(ledger, "sales", 2)
            await news.wait()
    assert updated == [SALES]
    async with client(running, EU, "legacy") as eva:
        over_http = eva.server_capabilities.resources
        assert over_http is not None
        assert not over_http.subscribe
