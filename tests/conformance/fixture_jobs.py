"""The suite's tools that run long: each call is a Job of the server's own store, which clients follow as a task.

Jobs that ask while they run are fixtures only: no job of ours asks anything.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from mcp.server.context import HandlerResult
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolRequestParams, CallToolResult, ElicitRequest, ElicitResult, TextContent
from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY
from pydantic import Field

from indexes.jobs import Claim, JobStore
from mcp_server.protocol import Context, Identify
from mcp_server.tasks import EXTENSION, TaskParams
from mcp_server.tools.status import job_form
from tests.conformance.fixture_rounds import asking, form
from tests.conformance.fixture_tools import FixtureTool, Outcome, said

TICK_SECONDS = 0.05
Work = Callable[[Mapping[str, Any]], tuple[float, str, dict[str, Any]]]
"""How long a job of these arguments takes, and the state and result that it ends in."""


def _computed(asked: Mapping[str, Any]) -> tuple[float, str, dict[str, Any]]:
    return float(asked.get("seconds", 0)), "succeeded", {"label": str(asked.get("label", ""))}


def _failed(_: Mapping[str, Any]) -> tuple[float, str, dict[str, Any]]:
    return 0.2, "failed", {"error": "it failed, as it should", "code": "refused"}


def _crashed(_: Mapping[str, Any]) -> tuple[float, str, dict[str, Any]]:
    return 0.2, "failed", {"error": "the server made a mistake.", "code": "internal"}


class Questions:
    """What jobs have asked their clients and were not told yet, by job and a key of its own. Thread-safe."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, Any]] = {}

    def ask(self, job: str, *requests: ElicitRequest) -> None:
        """Let a job wait for the answers to these requests."""
        forms = [one.model_dump(by_alias=True, mode="json", exclude_none=True) for one in requests]
        self._open[job] = {uuid.uuid4().hex: one for one in forms}

    def of(self, job: str) -> dict[str, Any]:
        """What it still waits for."""
        return dict(self._open.get(job, {}))

    def tell(self, job: str, answers: Mapping[str, Any]) -> None:
        """Answer some of it; a key that was never given out changes nothing."""
        for key in answers:
            self._open.get(job, {}).pop(key, None)


class AnsweredParams(TaskParams):
    """The parameters of `tasks/update`."""

    input_responses: Mapping[str, Any] = Field(default_factory=dict[str, Any])


def cover_tasks(server: Server[Any], questions: Questions) -> None:
    """Have a task whose job asks say so, and hear the answers; all else is the server's own."""
    got, updated = server.get_request_handler("tasks/get"), server.get_request_handler("tasks/update")
    assert got is not None
    assert updated is not None

    async def get(ctx: Context, params: TaskParams) -> HandlerResult:
        task: Any = await got.handler(ctx, params)
        waiting = questions.of(params.task_id)
        if not waiting or task["status"] != "working":
            return task
        return {**task, "status": "input_required", "inputRequests": waiting}

    async def update(ctx: Context, params: AnsweredParams) -> HandlerResult:
        acknowledged = await updated.handler(ctx, params)  # of the caller's own task, or an error
        questions.tell(params.task_id, params.input_responses)
        return acknowledged

    server.add_request_handler("tasks/get", TaskParams, get)
    server.add_request_handler("tasks/update", AnsweredParams, update)


def job_tools(jobs: JobStore, identify: Identify, questions: Questions) -> dict[str, FixtureTool]:
    """`greet`, which answers at once, and those that become jobs of their caller."""
    claiming = threading.Lock()

    def submitted(ctx: Context, work: Work, asked: Mapping[str, Any], *asks: ElicitRequest) -> Outcome:
        with claiming:
            job = jobs.submit("evaluate", asked, identify(ctx).principal.subject)
            claim = jobs.claim("suite")
        assert claim is not None
        assert claim.job.id == job.id
        questions.ask(job.id, *asks)
        threading.Thread(target=_run, args=(jobs, claim, work, questions), daemon=True).start()
        told = job_form(jobs.get(job.id))
        text = TextContent(type="text", text=f"job {job.id}")
        return CallToolResult(content=[text], structured_content={"data": {"job": told}})

    def submitting(work: Work, *asks: ElicitRequest, required: bool = False) -> FixtureTool:
        async def run(ctx: Context, params: CallToolRequestParams) -> Outcome:
            known = ctx.session.client_capabilities
            if (required or asks) and EXTENSION not in ((known and known.extensions) or {}):
                needed = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
                raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "this tool is a task.", needed)
            return submitted(ctx, work, params.arguments or {}, *asks)

        return FixtureTool(run)

    async def asks_first(ctx: Context, params: CallToolRequestParams) -> Outcome:
        match (params.input_responses or {}).get("user_name"):
            case ElicitResult(action="accept", content=content) if content:
                return submitted(ctx, _computed, {"seconds": 0.2, "label": content.get("name")})
            case _:
                return asking(user_name=form("What is your name?", name="string"))

    return {
        "greet": FixtureTool(_greet),
        "slow_compute": submitting(_computed),
        "failing_job": submitting(_failed, required=True),
        "protocol_error_job": submitting(_crashed),
        "test_tool_with_task": FixtureTool(asks_first),
        "confirm_delete": submitting(_computed, form("Delete it?", confirm="boolean")),
        "multi_input": submitting(_computed, form("Your name?", name="string"), form("Sure?", confirm="boolean")),
    }


async def _greet(ctx: Context, params: CallToolRequestParams) -> Outcome:
    return said(f"Hello, {(params.arguments or {}).get('name', '')}!")


def _run(jobs: JobStore, claim: Claim, work: Work, questions: Questions) -> None:
    seconds, state, result = work(claim.job.arguments)
    ticks = int(seconds / TICK_SECONDS)
    while ticks > 0 or questions.of(claim.job.id):
        if jobs.cancelled(claim):
            jobs.finish(claim, "cancelled", {})
            return
        threading.Event().wait(TICK_SECONDS)
        ticks -= 1
    jobs.finish(claim, "succeeded" if state == "succeeded" else "failed", result)
