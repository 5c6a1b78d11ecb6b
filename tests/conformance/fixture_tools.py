"""The tools that the official suite calls by name; they lie over the server's own in conformance tests only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.server.subscriptions import InMemorySubscriptionBus, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp.types import (
    AudioContent,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    SamplingMessage,
    TextContent,
    TextResourceContents,
    Tool,
)
from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY

from mcp_server.protocol import Context

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
STEP_SECONDS = 0.02

Outcome = CallToolResult | InputRequiredResult
Run = Callable[[Context, CallToolRequestParams], Awaitable[Outcome]]

BUS = InMemorySubscriptionBus()
"""Carries list changes to `subscriptions/listen` streams."""


@dataclass(frozen=True)
class FixtureTool:
    """One tool of the suite's specification."""

    run: Run
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    def described(self, name: str) -> Tool:
        """The tool as `tools/list` shows it."""
        return Tool(name=name, description="A fixture of the conformance suite.", input_schema=dict(self.schema))


def said(text: str, *, is_error: bool = False) -> CallToolResult:
    """A result of one text."""
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)


def embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    """A text resource inside a result."""
    contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return EmbeddedResource(type="resource", resource=contents)


def _constant(*content: ContentBlock) -> FixtureTool:
    async def run(ctx: Context, params: CallToolRequestParams) -> Outcome:
        return CallToolResult(content=list(content))

    return FixtureTool(run)


async def _fail(ctx: Context, params: CallToolRequestParams) -> Outcome:
    return said("This tool intentionally returns an error for testing", is_error=True)


async def _log(ctx: Context, params: CallToolRequestParams) -> Outcome:
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", message, related_request_id=ctx.request_id)
        await anyio.sleep(STEP_SECONDS)
    return said("logged")


async def _progress(ctx: Context, params: CallToolRequestParams) -> Outcome:
    for progress in (0, 50, 100):
        await ctx.session.report_progress(progress, 100, f"{progress} of 100")
        await anyio.sleep(STEP_SECONDS)
    return said("done")


async def _sample(ctx: Context, params: CallToolRequestParams) -> Outcome:
    prompt = str((params.arguments or {}).get("prompt", ""))
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    result = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return said(f"LLM response: {getattr(result.content, 'text', '')}")


async def _missing_capability(ctx: Context, params: CallToolRequestParams) -> Outcome:
    held = ctx.session.client_capabilities
    if held is None or held.sampling is None:
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY,
            "Missing required client capability",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return said("sampling is there")


async def _reconnect(ctx: Context, params: CallToolRequestParams) -> Outcome:
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    await anyio.sleep(STEP_SECONDS)
    return said("reconnected")


def _asking(schema: Mapping[str, Any], message: str = "Please fill in", **arguments: Any) -> FixtureTool:
    """A tool that asks the user by a form while it runs (handshake era)."""

    async def run(ctx: Context, params: CallToolRequestParams) -> Outcome:
        words = str((params.arguments or {}).get("message", message))
        result = await ctx.session.elicit_form(words, {"type": "object", **schema}, ctx.request_id)
        return said(f"User response: action={result.action}, content={result.content}")

    properties = {name: {"type": kind} for name, kind in arguments.items()}
    return FixtureTool(run, {"type": "object", "properties": properties})


def _changing(event: ToolsListChanged | PromptsListChanged) -> FixtureTool:
    async def run(ctx: Context, params: CallToolRequestParams) -> Outcome:
        await BUS.publish(event)
        return said("changed")

    return FixtureTool(run)


def _titled(*pairs: str) -> list[dict[str, str]]:
    return [{"const": pair, "title": pair.title()} for pair in pairs]


_CHOICES = ["option1", "option2", "option3"]
_ENUMS = {
    "untitledSingle": {"type": "string", "enum": _CHOICES},
    "titledSingle": {"type": "string", "oneOf": _titled("value1", "value2", "value3")},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _CHOICES}},
    "titledMulti": {"type": "array", "items": {"anyOf": _titled("value1", "value2", "value3")}},
}
_DEFAULTS = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
_SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
_HEADED = {"type": "object", "properties": {"text": {"type": "string", "x-mcp-header": "Text"}}}
_TWO_TEXTS = {"properties": {"username": {"type": "string"}, "email": {"type": "string"}}}


def _echo() -> Run:
    async def run(ctx: Context, params: CallToolRequestParams) -> Outcome:
        return said(str(params.arguments or {}))

    return run


TOOLS: Mapping[str, FixtureTool] = {
    "test_simple_text": _constant(TextContent(type="text", text="This is a simple text response for testing.")),
    "test_image_content": _constant(ImageContent(type="image", data=PNG, mime_type="image/png")),
    "test_audio_content": _constant(AudioContent(type="audio", data=WAV, mime_type="audio/wav")),
    "test_embedded_resource": _constant(
        embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ),
    "test_multiple_content_types": _constant(
        TextContent(type="text", text="Multiple content types test:"),
        ImageContent(type="image", data=PNG, mime_type="image/png"),
        embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ),
    "test_error_handling": FixtureTool(_fail),
    "test_tool_with_logging": FixtureTool(_log),
    "test_logging_tool": FixtureTool(_log),
    "test_tool_with_progress": FixtureTool(_progress),
    "test_sampling": FixtureTool(_sample, {"type": "object", "properties": {"prompt": {"type": "string"}}}),
    "test_elicitation": _asking({**_TWO_TEXTS, "required": ["username", "email"]}, message="string"),
    "test_elicitation_sep1034_defaults": _asking({"properties": _DEFAULTS}),
    "test_elicitation_sep1330_enums": _asking({"properties": _ENUMS}),
    "test_missing_capability": FixtureTool(_missing_capability),
    "test_reconnection": FixtureTool(_reconnect),
    "test_trigger_tool_change": _changing(ToolsListChanged()),
    "test_trigger_prompt_change": _changing(PromptsListChanged()),
    "test_custom_headers": FixtureTool(_echo(), _HEADED),
    "json_schema_2020_12_tool": FixtureTool(_echo(), _SCHEMA_2020_12),
}
