"""What a serving process measures, in Prometheus form: calls, operations, engines, and what its home says."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Generator
from typing import Any

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp.types import METHOD_NOT_FOUND, CallToolResult
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector

from mcp_server.answer import Answer
from mcp_server.home_metrics import HomeCollector
from mcp_server.service import Service
from mcp_server.session import Caller
from mcp_server.subscriptions import METHOD

BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
"""Seconds; those of the semantic conventions for `mcp.server.operation.duration`."""
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder where the processes of one server count together; read by prometheus_client when it is loaded."""
OTHER = "other"
"""The tool or method of a request that names none of ours: a label must not grow with what callers type."""

Context = ServerRequestContext[Any, Any]


class Metrics:
    """The metrics of one application, in a registry of its own. Labels hold names of ours, never arguments."""

    def __init__(self, service: Service) -> None:
        disable_created_metrics()  # each counter would bring a second sample that nobody asks for
        self.registry = CollectorRegistry()
        self._tools: Collection[str] = service.tools
        self._operations = Histogram(
            "mcp_server_operation_duration_seconds",
            "Seconds from an MCP request to its answer (mcp.server.operation.duration).",
            ("mcp_method_name", "gen_ai_tool_name", "error_type", "network_transport"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._calls = Counter(
            "wellhead_calls",
            "Answered tool calls through every door.",
            ("tool", "status", "code", "transport"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "wellhead_call_duration_seconds",
            "Seconds a tool call took, waiting for a turn not counted.",
            ("tool",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._rows = Counter("wellhead_rows", "Rows handed out.", ("tool",), registry=self.registry)
        self._bytes = Counter("wellhead_reply_bytes", "Bytes of answers' data.", ("tool",), registry=self.registry)
        self._of_tool: dict[str, tuple[Histogram, Counter, Counter]] = {}
        self._home = HomeCollector(service)
        self.registry.register(self._home)

    @property
    def shown(self) -> CollectorRegistry:
        """What is exposed: where several processes count together, what all of them counted."""
        if SHARED_FOLDER not in os.environ:
            return self.registry
        together = CollectorRegistry()
        MultiProcessCollector(together)
        together.register(self._home)
        return together

    def observe(self, caller: Caller, tool: str, answer: Answer) -> None:
        """Count one answered call."""
        name, cost = self._tool(tool), answer.receipt.cost
        code = answer.error.code if answer.error is not None else ""
        of_tool = self._of_tool.get(name)
        if of_tool is None:
            of_tool = self._seconds.labels(name), self._rows.labels(name), self._bytes.labels(name)
            self._of_tool[name] = of_tool
        seconds, rows, size = of_tool
        self._calls.labels(name, answer.status, code, caller.transport).inc()
        seconds.observe(cost.ms / 1_000)
        rows.inc(cost.rows)
        size.inc(cost.bytes)

    async def operation(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """MCP middleware: times every request of the protocol. Notifications are no operations, nor are streams, which
        last as long as somebody listens."""
        if ctx.request_id is None or ctx.method == METHOD:
            return await call_next(ctx)
        started, error = time.perf_counter(), "cancelled"
        try:
            result = await call_next(ctx)
            error = "tool_error" if isinstance(result, CallToolResult) and result.is_error else ""
            if isinstance(result, dict) and result.get("isError") is True:
                error = "tool_error"
            return result
        except MCPError as failure:
            error = str(failure.code)
            raise
        except Exception as failure:
            error = type(failure).__qualname__
            raise
        finally:
            name = (ctx.params or {}).get("name") if ctx.method == "tools/call" else ""
            transport = "pipe" if ctx.request is None else "tcp"
            method = OTHER if error == str(METHOD_NOT_FOUND) else ctx.method
            labels = (method, self._tool(str(name)) if name else "", error, transport)
            self._operations.labels(*labels).observe(time.perf_counter() - started)

    def _tool(self, name: str) -> str:
        return name if name in self._tools else OTHER


@contextlib.contextmanager
def exposing(metrics: Metrics, host: str, port: int) -> Generator[int]:
    """Serve `/metrics` on a port of its own while the block runs; 0 picks a free one. Gives the port.

    Whoever reaches that port reads it: bind it where only the monitoring does. Raises OSError where it is taken.
    """
    server, thread = start_http_server(port, host, metrics.shown)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
