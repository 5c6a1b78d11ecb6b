"""Jobs as the tasks extension (SEP-2663): a client that knows it follows a Job by `tasks/get` and `tasks/cancel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, RequestParams
from mcp_types import HEADER_MISMATCH, MISSING_REQUIRED_CLIENT_CAPABILITY

from mcp_server.answer import Answer
from mcp_server.runner import CallRunner
from mcp_server.session import Caller
from semantic_layer.errors import InternalFailure

EXTENSION = "io.modelcontextprotocol/tasks"
POLL_MS = 1_000
KEPT_MS = 7 * 86_400_000
"""A job is never forgotten earlier than this."""
_STATUS: Mapping[str, str] = {"queued": "working", "running": "working", "cancelled": "cancelled"}
"""Status of a task by a job's state. What ended otherwise is `completed`, a failure with an error result; `failed` is
only what the server itself made a mistake in."""

Context = ServerRequestContext[Any, Any]


class TaskParams(RequestParams):
    """The parameters of every `tasks/` method."""

    task_id: str


class JobsAsTasks:
    """Answers calls that submitted a Job with a task, and serves `tasks/get`, `tasks/update` and `tasks/cancel`.

    Only for a client that declares the extension in the request; for all others a Job stays a handle in the answer.
    Every look at a task is a call of `status` or `release`: decided and recorded like those.
    """

    def __init__(self, runner: CallRunner, identify: Callable[[Context], Caller]) -> None:
        self._runner = runner
        self._identify = identify

    def serve_on(self, server: Server[Any]) -> None:
        """Announce the extension and answer its methods."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self._get)
        server.add_request_handler("tasks/update", TaskParams, self._update)
        server.add_request_handler("tasks/cancel", TaskParams, self._cancel)
        server.middleware.append(self._submitted)

    async def _submitted(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """MCP middleware: the result of a call that submitted a job becomes a task."""
        result = await call_next(ctx)
        asked = (ctx.params or {}).get("name")
        if ctx.method != "tools/call" or asked == "status" or not _declared(ctx) or not isinstance(result, dict):
            return result
        content = result.get("structuredContent") or {}
        job = content.get("data", {}).get("job") if isinstance(content, dict) else None
        if not job or _STATUS.get(job["state"]) != "working":
            return result
        return {"resultType": "task", **_task(job)}

    async def _get(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        answer = await self._answer(ctx, params, "status", {"job": params.task_id})
        job, task = answer.data["job"], _task(answer.data["job"])
        if task["status"] == "failed":
            task["error"] = {"code": INTERNAL_ERROR, "message": str(job["result"].get("error", "the job failed."))}
        if task["status"] == "completed":
            task["result"] = {
                "resultType": "complete",
                "content": [{"type": "text", "text": answer.text}],
                "structuredContent": answer.to_json(fenced=True),
                "isError": job["state"] == "failed",
            }
        return task

    async def _update(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        """No job of ours asks anything: what is sent is acknowledged and changes nothing."""
        await self._answer(ctx, params, "status", {"job": params.task_id})
        return {}

    async def _cancel(self, ctx: Context, params: TaskParams) -> dict[str, Any]:
        await self._answer(ctx, params, "release", {"action": "cancel", "job": params.task_id})
        return {}

    async def _answer(self, ctx: Context, params: TaskParams, tool: str, asked: Mapping[str, Any]) -> Answer:
        """The answer of a tool about the caller's own task. Raises MCPError where there is none for it."""
        if not _declared(ctx):
            needed = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, f"declare the extension {EXTENSION}.", needed)
        named = ctx.request.headers.get("mcp-name") if ctx.request is not None else params.task_id
        if named != params.task_id:
            raise MCPError(HEADER_MISMATCH, "Mcp-Name and taskId differ.")
        answer = await self._runner.call(self._identify(ctx), tool, asked)
        if answer.error is not None:
            raise MCPError(INVALID_PARAMS, str(answer.error), {"code": answer.error.code})
        return answer


def _task(job: Mapping[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    task = {
        "taskId": job["job"],
        "status": "failed"
        if job["result"].get("code") == InternalFailure.code
        else _STATUS.get(job["state"], "completed"),
        "createdAt": job["submitted_at"],
        "lastUpdatedAt": now,
        "ttlMs": KEPT_MS,
        "pollIntervalMs": POLL_MS,
    }
    progress = job.get("progress")
    return {**task, "statusMessage": str(progress)[:200]} if progress else task


def _declared(ctx: Context) -> bool:
    held = ctx.session.client_capabilities
    return held is not None and EXTENSION in (held.extensions or {})
