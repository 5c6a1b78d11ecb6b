"""This server with the suite's fixtures over it: what a fixture does not answer, the real handlers do."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import ListenHandler
from mcp.types import (
    BlobResourceContents,
    CallToolRequestParams,
    EmptyResult,
    GetPromptRequestParams,
    GetPromptResult,
    ImageContent,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    SetLevelRequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)

from indexes.jobs import JobStore
from mcp_server.app import build_app
from mcp_server.protocol import Context, Identify, build_server
from mcp_server.runner import CallRunner
from mcp_server.subscriptions import Subscriptions
from tests.conformance.fixture_jobs import Questions, cover_tasks, job_tools
from tests.conformance.fixture_rounds import ROUNDS, prompt_in_rounds
from tests.conformance.fixture_tools import BUS, PNG, TOOLS, FixtureTool, embedded

ALL_TOOLS = {**TOOLS, **ROUNDS}
IN_ROUNDS = "test_input_required_result_prompt"
PROMPTS = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    IN_ROUNDS: (),
}
TEMPLATE = "test://template/{id}/data"
TEXTS = {
    "test://static-text": "This is the content of the static text resource.",
    "test://watched-resource": "Watched resource content",
}
BINARY = "test://static-binary"


def fixture_server(
    runner: CallRunner, identify: Identify, version: str, subscriptions: Subscriptions
) -> Server[Any]:
    """The real MCP server, its handlers covered by the fixtures' where these know the name asked for."""
    server = build_server(runner, identify, version, subscriptions)
    service = runner.service
    questions = Questions()
    tools = {**ALL_TOOLS, **job_tools(JobStore(service.settings.home), identify, questions)}
    own_schema = server.get_tool_input_schema
    server.get_tool_input_schema = lambda name: (
        tools[name].schema if name in tools else own_schema(name) if own_schema else None
    )
    cover_tasks(server, questions)
    _cover_tools(server, tools)
    _cover_prompts(server)
    _cover_resources(server)
    server.add_request_handler("logging/setLevel", SetLevelRequestParams, _empty)
    server.add_request_handler("resources/subscribe", SubscribeRequestParams, _empty)
    server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, _empty)
    server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, ListenHandler(BUS))
    security = RequestStateSecurity.ephemeral()
    server.middleware.append(RequestStateBoundary(security, default_audience=service.settings.name))
    return server


fixture_app = functools.partial(build_app, make_server=fixture_server, sessions=True)
"""The application of `build_app` with fixtures; sessions, for fixtures that ask clients of the handshake era."""


def _cover_tools(server: Server[Any], tools: Mapping[str, FixtureTool]) -> None:
    own_list, own_call = _handler(server, "tools/list"), _handler(server, "tools/call")

    async def listed(ctx: Context, params: PaginatedRequestParams) -> Any:
        own = await own_list(ctx, params)
        return own.model_copy(
            update={"tools": [*own.tools, *(tool.described(name) for name, tool in tools.items())]}
        )

    async def called(ctx: Context, params: CallToolRequestParams) -> Any:
        fixture = tools.get(params.name)
        return await (fixture.run(ctx, params) if fixture else own_call(ctx, params))

    server.add_request_handler("tools/list", PaginatedRequestParams, listed)
    server.add_request_handler("tools/call", CallToolRequestParams, called)


def _cover_prompts(server: Server[Any]) -> None:
    own_list, own_get = _handler(server, "prompts/list"), _handler(server, "prompts/get")

    async def listed(ctx: Context, params: PaginatedRequestParams) -> Any:
        own = await own_list(ctx, params)
        more = [
            Prompt(
                name=name,
                description="A fixture.",
                arguments=[PromptArgument(name=one, required=True) for one in arguments],
            )
            for name, arguments in PROMPTS.items()
        ]
        return own.model_copy(update={"prompts": [*own.prompts, *more]})

    async def got(ctx: Context, params: GetPromptRequestParams) -> Any:
        if params.name == IN_ROUNDS:
            return await prompt_in_rounds(params)
        return _prompt(params) if params.name in PROMPTS else await own_get(ctx, params)

    server.add_request_handler("prompts/list", PaginatedRequestParams, listed)
    server.add_request_handler("prompts/get", GetPromptRequestParams, got)


def _prompt(params: GetPromptRequestParams) -> GetPromptResult:
    held = params.arguments or {}
    content: list[Any] = [TextContent(type="text", text="Please process the embedded resource above.")]
    match params.name:
        case "test_simple_prompt":
            content = [TextContent(type="text", text="This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            words = f"Prompt with arguments: arg1='{held['arg1']}', arg2='{held['arg2']}'"
            content = [TextContent(type="text", text=words)]
        case "test_prompt_with_embedded_resource":
            text = "Embedded resource content for testing."
            content.insert(0, embedded(held["resourceUri"], "text/plain", text))
        case _:
            content.insert(0, ImageContent(type="image", data=PNG, mime_type="image/png"))
    return GetPromptResult(messages=[PromptMessage(role="user", content=one) for one in content])


def _cover_resources(server: Server[Any]) -> None:
    own_list, own_read = _handler(server, "resources/list"), _handler(server, "resources/read")
    own_templates = _handler(server, "resources/templates/list")

    async def listed(ctx: Context, params: PaginatedRequestParams) -> Any:
        own = await own_list(ctx, params)
        more = [Resource(uri=uri, name=uri.removeprefix("test://")) for uri in (*TEXTS, BINARY)]
        return own.model_copy(update={"resources": [*own.resources, *more]})

    async def templates(ctx: Context, params: PaginatedRequestParams) -> Any:
        own = await own_templates(ctx, params)
        more = ResourceTemplate(uri_template=TEMPLATE, name="template")
        return own.model_copy(update={"resource_templates": [*own.resource_templates, more]})

    async def read(ctx: Context, params: ReadResourceRequestParams) -> Any:
        return _resource(str(params.uri)) or await own_read(ctx, params)

    server.add_request_handler("resources/list", PaginatedRequestParams, listed)
    server.add_request_handler("resources/templates/list", PaginatedRequestParams, templates)
    server.add_request_handler("resources/read", ReadResourceRequestParams, read)


def _resource(uri: str) -> ReadResourceResult | None:
    head, tail = TEMPLATE.split("{id}")
    if uri in TEXTS:
        contents: Any = TextResourceContents(uri=uri, mime_type="text/plain", text=TEXTS[uri])
    elif uri == BINARY:
        contents = BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    elif uri.startswith(head) and uri.endswith(tail):
        one = uri.removeprefix(head).removesuffix(tail)
        text = json.dumps({"id": one, "templateTest": True, "data": f"Data for ID: {one}"})
        contents = TextResourceContents(uri=uri, mime_type="application/json", text=text)
    else:
        return None
    return ReadResourceResult(contents=[contents])


def _handler(server: Server[Any], method: str) -> Any:
    entry = server.get_request_handler(method)
    assert entry is not None
    return entry.handler


async def _empty(ctx: Context, params: Any) -> EmptyResult:
    return EmptyResult()
