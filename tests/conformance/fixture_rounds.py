"""The suite's tools and prompt that ask the client in rounds (2026-07-28): what is asked comes back as a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcp.types import (
    CallToolRequestParams,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    GetPromptRequestParams,
    GetPromptResult,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    PromptMessage,
    RequestParams,
    SamplingMessage,
    TextContent,
)

from mcp_server.protocol import Context
from tests.conformance.fixture_tools import FixtureTool, Outcome, said

Asked = ElicitRequest | CreateMessageRequest | ListRootsRequest


def form(message: str, **properties: str) -> ElicitRequest:
    """A form with these fields, all required."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(text: str) -> CreateMessageRequest:
    """A question to the client's model."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=100))


def roots() -> ListRootsRequest:
    """A request for the client's folders."""
    return ListRootsRequest(params=RequestParams())


def asking(state: str | None = None, **requests: Asked) -> InputRequiredResult:
    """A result that asks; the boundary seals the state."""
    return InputRequiredResult(input_requests=dict(requests), request_state=state)


def given(responses: Mapping[str, Any] | None, name: str, *fields: str) -> bool:
    """Whether the client answered this request with what was asked for."""
    match (responses or {}).get(name):
        case ElicitResult(action="accept", content=content):
            return all(field in (content or {}) for field in fields)
        case CreateMessageResult() | ListRootsResult():
            return True
        case _:
            return False


def _one_round(name: str, request: Callable[[], Asked], *fields: str, state: str | None = None) -> FixtureTool:
    async def run(ctx: Context, params: CallToolRequestParams) -> Outcome:
        if given(params.input_responses, name, *fields) and params.request_state == state:
            return said(f"state-ok: {(params.input_responses or {})[name].model_dump_json()}")
        return asking(state, **{name: request()})

    return FixtureTool(run)


async def _several(ctx: Context, params: CallToolRequestParams) -> Outcome:
    names = ("user_name", "greeting", "client_roots")
    if all(given(params.input_responses, name) for name in names):
        return said("all answered")
    first, second, third = form("What is your name?", name="string"), sampling("Generate a greeting"), roots()
    return asking("several", user_name=first, greeting=second, client_roots=third)


async def _rounds(ctx: Context, params: CallToolRequestParams) -> Outcome:
    match params.request_state:
        case None:
            return asking("round-1", step1=form("Step 1: What is your name?", name="string"))
        case "round-1":
            return asking("round-2", step2=form("Step 2: What is your favorite color?", color="string"))
        case _:
            return said("both rounds are done")


async def _declared_only(ctx: Context, params: CallToolRequestParams) -> Outcome:
    held = ctx.session.client_capabilities
    requests: dict[str, Asked] = {}
    if held is not None and held.sampling is not None:
        requests["sampling"] = sampling("Generate a greeting")
    if held is not None and held.elicitation is not None:
        requests["elicitation"] = form("What is your name?", name="string")
    if held is not None and held.roots is not None:
        requests["roots"] = roots()
    return asking(**requests)


def _confirm() -> ElicitRequest:
    return form("Please confirm", ok="boolean")


ROUNDS: Mapping[str, FixtureTool] = {
    "test_input_required_result_elicitation": _one_round(
        "user_name", lambda: form("What is your name?", name="string"), "name"
    ),
    "test_input_required_result_sampling": _one_round(
        "capital_question", lambda: sampling("What is the capital of France?")
    ),
    "test_input_required_result_list_roots": _one_round("client_roots", roots),
    "test_input_required_result_request_state": _one_round("confirm", _confirm, "ok", state="confirming"),
    "test_input_required_result_tampered_state": _one_round("confirm", _confirm, "ok", state="sealed"),
    "test_input_required_result_multiple_inputs": FixtureTool(_several),
    "test_input_required_result_multi_round": FixtureTool(_rounds),
    "test_input_required_result_capabilities": FixtureTool(_declared_only),
    "test_streaming_elicitation": _one_round("answer", lambda: form("What is your name?", name="string"), "name"),
}


async def prompt_in_rounds(params: GetPromptRequestParams) -> GetPromptResult | InputRequiredResult:
    """The prompt that asks for its context first."""
    if not given(params.input_responses, "user_context", "context"):
        return asking(user_context=form("What context should the prompt use?", context="string"))
    text = TextContent(type="text", text=str((params.input_responses or {})["user_context"]))
    return GetPromptResult(messages=[PromptMessage(role="user", content=text)])
