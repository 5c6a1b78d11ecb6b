"""The suite's tools that run long: each call is a Job of the server's own store, which clients follow as a task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp.types import CallToolRequestParams, CallToolResult, ElicitResult, TextContent
from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY

from indexes.jobs import Claim, JobStore
from mcp_server.protocol import Context, Identify
from mcp_server.tasks import EXTENSION
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


def job_tools(jobs: JobStore, identify: Identify) -> dict[str, FixtureTool]:
    """`greet`, which answers at once, and those that become jobs of their caller.

    No job of ours asks anything while it runs: `confirm_delete` answers at once, and `tasks-mrtr-input` is not passed.
    """
    claiming = threading.Lock()

    def submitted(ctx: Context, work: Work, asked: Mapping[str, Any]) -> Outcome:
        with claiming:
            job = jobs.submit("evaluate", asked, identify(ctx).principal.subject)
            claim = jobs.claim("suite")
        assert claim is not None
        assert claim.job.id == job.id
        threading.Thread(target=_run, args=(jobs, claim, work), daemon=True).start()
        told = job_form(jobs.get(job.id))
        text = TextContent(type="text", text=f"job {job.id}")
        return CallToolResult(content=[text], structured_content={"data": {"job": told}})

    def submitting(work: Work, *, required: bool = False) -> FixtureTool:
        async def run(ctx: Context, params: CallToolRequestParams) -> Outcome:
            known = ctx.session.client_capabilities
            if required and EXTENSION not in ((known and known.extensions) or {}):
                needed = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
                raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "this tool is a task.", needed)
            return submitted(ctx, work, params.arguments or {})

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
        "confirm_delete": FixtureTool(_greet),
    }


async def _greet(ctx: Context, params: CallToolRequestParams) -> Outcome:
    return said(f"Hello, {(params.arguments or {}).get('name', '')}!")


def _run(jobs: JobStore, claim: Claim, work: Work) -> None:
    seconds, state, result = work(claim.job.arguments)
    for _ in range(int(seconds / TICK_SECONDS)):
        if jobs.cancelled(claim):
            jobs.finish(claim, "cancelled", {})
            return
        threading.Event().wait(TICK_SECONDS)
    jobs.finish(claim, "succeeded" if state == "succeeded" else "failed", result)
