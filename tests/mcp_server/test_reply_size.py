"""Replies stay near 2,000 tokens until detail is asked for; the rest is one cursor or one link away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ResourceLink

from mcp_server.fence import Quoted
from mcp_server.reply_size import cut_cells, fitting, shortened
from semantic_layer.principal import Principal
from tests.mcp_server.callers import EU, US, Asker
from tests.mcp_server.crowded import ROWS
from tests.mcp_server.running import Running, running_server
from tests.workspace_factory import BuiltWorkspace

TOKEN_CHARACTERS = 4
CONCISE_TOKENS = 2_000
RECORDS = {"product": "sales", "dataset": "orders", "limit": 100}


@pytest.fixture(scope="module")
def crowded_server(crowded: BuiltWorkspace) -> Iterator[Running]:
    with running_server(crowded) as server:
        yield server


def tokens(text: str) -> float:
    return len(text) / TOKEN_CHARACTERS


@pytest.mark.parametrize(
    ("tool", "asked"),
    [
        ("lookup", RECORDS),
        ("search", {"question": "the box was wet", "limit": 50}),
        ("query_metrics", {"metrics": ["revenue"], "dimensions": ["remark"], "limit": 1_000}),
        ("query_metrics", {"metrics": ["order_count"], "dimensions": ["metric_time__day"]}),
        ("dimension_values", {"dimension": "region", "limit": 200}),
        ("describe", {"ref": "sales"}),
        ("discover", {"limit": 50}),
        ("status", {}),
    ],
)
def test_a_reply_stays_near_2000_tokens(ask_crowded: Asker, tool: str, asked: dict[str, Any]) -> None:
    answer = ask_crowded(US, tool, **asked)
    assert tokens(answer.to_text()) <= CONCISE_TOKENS
    assert tokens(json.dumps(answer.to_json(fenced=True), ensure_ascii=False)) <= CONCISE_TOKENS * 1.25


def test_pages_together_hold_every_record_once(ask_crowded: Asker) -> None:
    seen, cursor = list[int](), None
    while True:
        answer = ask_crowded.ok(US, "lookup", **RECORDS, **({"cursor": cursor} if cursor else {}))
        seen += [row["order_id"] for row in answer.data["rows"]]
        assert answer.page is not None
        cursor = answer.page.next_cursor
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == ROWS + 3


def test_detail_gives_more_and_whole_texts(ask_crowded: Asker) -> None:
    concise = ask_crowded.ok(US, "lookup", **RECORDS, order=["-order_id"])
    detailed = ask_crowded.ok(US, "lookup", **RECORDS, order=["-order_id"], response_format="detailed")
    assert len(detailed.data["rows"]) > 5 * len(concise.data["rows"])
    assert concise.data["rows"][0]["remark"].endswith("…")
    assert len(detailed.data["rows"][0]["remark"]) > 500


async def linked(running: Running, principal: Principal, mode: Any, **asked: Any) -> ResourceLink:
    async with client(running, principal, mode) as connected:
        result = await connected.call_tool("lookup", asked)
    (link,) = [one for one in result.content if isinstance(one, ResourceLink)]
    return link


@asynccontextmanager
async def client(running: Running, principal: Principal, mode: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {running.token(principal)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(running.url, http_client=http), mode=mode) as connected,
    ):
        yield connected


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_cut_reply_links_to_the_whole_and_the_link_is_the_callers_own(
    crowded_server: Running, mode: str
) -> None:
    link = await linked(crowded_server, US, mode, **RECORDS)
    async with client(crowded_server, US, mode) as connected:
        read = await connected.read_resource(link.uri)
        whole = json.loads(getattr(read.contents[0], "text", ""))
        assert whole["page"]["returned"] > 50
        edited = str(link.uri)[:-4] + "AAAA"
        with pytest.raises(MCPError, match="cursor"):
            await connected.read_resource(edited)
    async with client(crowded_server, EU, mode) as connected:
        with pytest.raises(MCPError, match="does not belong"):
            await connected.read_resource(link.uri)


@pytest.mark.anyio
async def test_a_whole_reply_needs_no_link(crowded_server: Running) -> None:
    async with client(crowded_server, EU, "2026-07-28") as connected:
        result = await connected.call_tool("lookup", {"product": "sales", "dataset": "orders", "key": 1})
    assert [one.type for one in result.content] == ["text"]


def test_at_least_one_item_fits_whatever_its_size() -> None:
    assert fitting(["x" * 100_000, "y"], "concise") == 1
    assert fitting([], "concise") == 0
    assert fitting(["a"] * 10, "concise") == 10


def test_a_cut_cell_stays_quoted() -> None:
    cut = cut_cells({"a": Quoted("x" * 1_000), "b": 3}, "concise")
    assert isinstance(cut["a"], Quoted)
    assert cut["b"] == 3


def test_what_a_description_leaves_out_is_said() -> None:
    form, notes = shortened({"name": "x", "columns": [{"name": "c" * 200}] * 100}, "concise")
    assert len(form["columns"]) < 100
    assert "columns left out" in notes[0]
    assert shortened({"columns": [1]}, "concise") == ({"columns": [1]}, [])
