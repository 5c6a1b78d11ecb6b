"""`ingest`: build and publish products, as a job."""

from __future__ import annotations

from indexes.jobs import JobStore
from mcp_server.answer import Answer
from mcp_server.identity import OPERATE
from mcp_server.session import Session
from mcp_server.tool import Tool
from mcp_server.tools.operate import ProductsArguments, may_operate, submitted


def ingest_tool(jobs: JobStore) -> Tool:
    """Builds and publishes products, as a job."""

    def run(session: Session, asked: ProductsArguments) -> Answer:
        may_operate(session, asked.products or [])
        return submitted(session, jobs, "ingest", {"products": asked.products or []})

    return Tool(
        "ingest",
        "Build and publish products (default all) as a job: follow it with `status`.",
        ProductsArguments,
        run,
        scope=OPERATE,
        read_only=False,
        idempotent=True,
    )
