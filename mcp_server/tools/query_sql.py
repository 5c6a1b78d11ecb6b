"""`query_sql`: one SELECT of the caller's own over the rows and columns that its policy shows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from indexes.sql import select_rows
from mcp_server.answer import Answer, Page
from mcp_server.arguments import Arguments
from mcp_server.fence import quoted_cell
from mcp_server.identity import SQL
from mcp_server.references import dataset_reference
from mcp_server.reply_size import ResponseFormat, cut_cells, fitting
from mcp_server.session import Session
from mcp_server.table import text_table
from mcp_server.tool import Tool
from mcp_server.tracing import engine_span
from semantic_layer.policy import Action
from semantic_layer.sql.guard import MAX_LENGTH

MORE = "more rows exist: aggregate, filter, use LIMIT and OFFSET, or ask with response_format detailed"


class QuerySqlArguments(Arguments):
    sql: Annotated[str, Field(max_length=MAX_LENGTH, description="One SELECT (DuckDB) FROM product.dataset")]
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    response_format: ResponseFormat = "concise"


def _run(session: Session, asked: QuerySqlArguments) -> Answer:
    grants = {name: session.snapshot.grant(session.principal, name, Action.SQL) for name in session.discoverable}
    with engine_span("sql") as span:
        found = select_rows(
            session.snapshot,
            asked.sql,
            grants,
            deadline_seconds=session.deadline.remaining,
            now=session.now,
            limit=asked.limit,
            cancellation=session.cancellation,
            admit=session.spending.scan,
        )
        span.set_attribute("wellhead.rows", len(found.rows))
    rows = [{name: quoted_cell(value) for name, value in row.items()} for row in found.rows]
    rows = [cut_cells(row, asked.response_format) for row in rows]
    rows = rows[: fitting(rows, asked.response_format)]
    more = found.more or len(rows) < len(found.rows)
    receipt = session.receipt(
        {product: grants[product] for product, _ in found.tables},
        rows=len(rows),
        masked=found.masked,
        lineage=[dataset_reference(product, dataset) for product, dataset in found.tables],
        notes=[MORE] if more else [],
    )
    names = [name for name, _ in found.columns]
    return Answer(
        {"columns": [{"name": name, "type": kind} for name, kind in found.columns], "rows": rows},
        receipt,
        text=session.fence.around(text_table(names, rows)) if rows else "no rows",
        page=Page(len(rows)),
    )


QUERY_SQL = Tool(
    "query_sql",
    "Run one read-only SELECT over governed datasets where no metric answers; SQL knows no metric's definition.",
    QuerySqlArguments,
    _run,
    scope=SQL,
    open_world=True,
)
