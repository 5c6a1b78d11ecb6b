"""`evaluate`: run the evaluations of products, as a job."""

from __future__ import annotations

from indexes.jobs import JobStore
from mcp_server.answer import Answer
from mcp_server.identity import OPERATE
from mcp_server.session import Session
from mcp_server.tool import Tool
from mcp_server.tools.operate import ProductsArguments, may_operate, submitted


def evaluate_tool(jobs: JobStore) -> Tool:
    """Runs the products' evaluations, as a job."""

    def run(session: Session, asked: ProductsArguments) -> Answer:
        may_operate(session, asked.products or [])
        return submitted(session, jobs, "evaluate", {"products": asked.products or []})

    return Tool(
        "evaluate",
        "Run the evaluations of live products (default all), as a job: follow it with `status`.",
        ProductsArguments,
        run,
        scope=OPERATE,
        read_only=False,
        idempotent=True,
    )
