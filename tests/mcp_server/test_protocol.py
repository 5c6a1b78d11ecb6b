"""The MCP server as clients meet it, in both protocol eras: over HTTP with and without tokens, and over stdio."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import INVALID_PARAMS, CallToolResult, PromptReference, ResourceTemplateReference, TextContent

from mcp_server.prompts import PROMPTS
from semantic_layer.principal import Principal
from tests.mcp_server.callers import EU, OPERATOR, US
from tests.mcp_server.running import Running

pytestmark = pytest.mark.anyio
ERAS = ("legacy", "2026-07-28")


@asynccontextmanager
async def client(running: Running, principal: Principal | None, mode: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {running.token(principal)}"} if principal else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(running.url, http_client=http), mode=mode) as connected,
    ):
        yield connected


def text(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


@pytest.mark.parametrize("mode", ERAS)
async def test_three_callers_see_different_rows(running: Running, mode: str) -> None:
    seen = {}
    for name, principal in (("eu", EU), ("us", US), ("public", None)):
        async with client(running, principal, mode) as connected:
            result = await connected.call_tool("search", {"question": "target margin for boots", "limit": 20})
            assert result.structured_content is not None
            seen[name] = {hit["document"] for hit in result.structured_content["data"]["hits"]}
    assert "eu-margins.md" in seen["eu"]
    assert "us-margins.md" not in seen["eu"]
    assert "us-margins.md" in seen["us"]
    assert not seen["public"] & {"eu-margins.md", "us-margins.md"}


@pytest.mark.parametrize("mode", ERAS)
async def test_text_beside_structured_content_is_short_and_no_copy_of_it(running: Running, mode: str) -> None:
    async with client(running, EU, mode) as connected:
        result = await connected.call_tool("query_metrics", {"metrics": ["revenue"]})
    assert not result.is_error
    assert result.structured_content is not None
    assert result.structured_content["data"]["rows"] == [{"revenue": 140.75}]
    assert "140.75" in text(result)
    assert "{" not in text(result)
    assert result.structured_content["receipt"]["audit_id"] in text(result)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_misspelt_argument_is_an_error_result_with_the_near_name(running: Running, mode: str) -> None:
    async with client(running, EU, mode) as connected:
        result = await connected.call_tool("search", {"question": "x", "filter": {}})
    assert result.is_error
    assert "'filters'" in text(result)


@pytest.mark.parametrize("mode", ERAS)
async def test_an_operators_tools_show_only_with_the_scope(running: Running, mode: str) -> None:
    async with client(running, EU, mode) as connected:
        names = [tool.name for tool in (await connected.list_tools()).tools]
        said: list[str] = []
        for name in ("ingest", "injest"):
            with pytest.raises(MCPError, match=f"no tool '{name}'") as unknown:
                await connected.call_tool(name, {})
            assert unknown.value.error.code == INVALID_PARAMS
            said.append(unknown.value.error.message.replace(name, "X"))
    assert "ingest" not in names
    assert len(names) == 10
    assert said[0] == said[1]
    async with client(running, OPERATOR, mode) as connected:
        assert "ingest" in [tool.name for tool in (await connected.list_tools()).tools]


@pytest.mark.parametrize("mode", ERAS)
async def test_resources_are_those_that_exist_for_the_caller(running: Running, mode: str) -> None:
    async with client(running, None, mode) as connected:
        uris = [str(one.uri) for one in (await connected.list_resources()).resources]
        assert "dp://handbook" in uris
        assert "wellhead://answer-schema" in uris
        assert not any("sales" in uri for uri in uris)
        read = await connected.read_resource("dp://handbook")
        assert json.loads(getattr(read.contents[0], "text", ""))["data"]["name"] == "handbook"
        for uri in ("dp://sales", "dp://nothing", "doc://handbook/0000000000000000", "file:///etc/passwd"):
            with pytest.raises(MCPError) as refusal:
                await connected.read_resource(uri)
            assert refusal.value.error.code == -32602


@pytest.mark.parametrize("mode", ERAS)
async def test_the_answer_schema_is_a_resource(running: Running, mode: str) -> None:
    async with client(running, None, mode) as connected:
        read = await connected.read_resource("wellhead://answer-schema")
        templates = await connected.list_resource_templates()
    assert json.loads(getattr(read.contents[0], "text", ""))["title"] == "Answer"
    assert "metric://{product}/{metric}" in [one.uri_template for one in templates.resource_templates]


@pytest.mark.parametrize("mode", ERAS)
async def test_prompts_are_filled_in_and_a_missing_argument_is_named(running: Running, mode: str) -> None:
    async with client(running, EU, mode) as connected:
        assert [one.name for one in (await connected.list_prompts()).prompts] == list(PROMPTS)
        got = await connected.get_prompt("answer_with_receipt", {"question": "Why did revenue fall?"})
        assert "Why did revenue fall?" in getattr(got.messages[0].content, "text", "")
        with pytest.raises(MCPError, match="question"):
            await connected.get_prompt("answer_with_receipt", {})
        with pytest.raises(MCPError, match="answer_with_receipt"):
            await connected.get_prompt("answer_with_receit", {"question": "x"})


@pytest.mark.parametrize("mode", ERAS)
async def test_completions_offer_only_what_the_caller_may_discover(running: Running, mode: str) -> None:
    prompt = PromptReference(name="investigate_metric")
    template = ResourceTemplateReference(uri="dp://{product}")
    for principal, metrics, products in ((EU, ["revenue"], ["sales"]), (None, [], [])):
        async with client(running, principal, mode) as connected:
            found = await connected.complete(prompt, {"name": "metric", "value": "rev"})
            assert found.completion.values == metrics
            found = await connected.complete(template, {"name": "product", "value": "s"})
            assert found.completion.values == products


async def test_lists_are_private_and_always_in_the_same_order(running: Running) -> None:
    async with client(running, EU, "2026-07-28") as connected:
        first, second = await connected.list_tools(), await connected.list_tools()
    assert first.cache_scope == "private"
    assert [tool.name for tool in first.tools] == [tool.name for tool in second.tools]


async def test_the_server_says_how_to_begin(running: Running) -> None:
    async with client(running, None, "legacy") as connected:
        assert connected.instructions is not None
        assert "discover" in connected.instructions


async def test_stdio_serves_the_configured_principal(running: Running) -> None:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "wellhead", "--workspace", str(running.root), "serve", "--no-worker"],
    )
    with anyio.fail_after(60):
        async with Client(command) as connected:
            result = await connected.call_tool("query_metrics", {"metrics": ["revenue"]})
    assert result.structured_content is not None
    assert result.structured_content["data"]["rows"] == [{"revenue": 140.75}]
