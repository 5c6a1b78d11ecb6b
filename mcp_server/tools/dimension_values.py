"""`dimension_values`: which values a dimension has, to filter by."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from indexes.values import dimension_values
from mcp_server.answer import Answer, Page, plain
from mcp_server.arguments import Arguments
from mcp_server.fence import one_line, quoted_cell
from mcp_server.reply_size import fitting
from mcp_server.session import Session
from mcp_server.tool import Tool
from mcp_server.tools.query_metrics import one_statement
from mcp_server.tracing import engine_span
from semantic_layer.policy import Action


class DimensionValuesArguments(Arguments):
    dimension: Annotated[str, Field(max_length=300)]
    contains: Annotated[str, Field(max_length=200)] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: str | None = None


def dimension_values_tool(time_zone: str) -> Tool:
    """The tool; days and months are cut in `time_zone` where the model does not say otherwise."""

    def run(session: Session, asked: DimensionValuesArguments) -> Answer:
        grants = session.snapshot.grants(session.principal, Action.METRIC)
        existing = session.discoverable
        offset = session.offset(asked.cursor, list(existing))
        with engine_span("values") as span:
            found = dimension_values(
                session.snapshot,
                asked.dimension,
                grants,
                contains=asked.contains,
                limit=asked.limit,
                deadline_seconds=session.deadline.remaining,
                discover=existing,
                default_zone=time_zone,
                offset=offset,
                cancellation=session.cancellation,
                admit=session.spending.scan,
            )
            span.set_attribute("wellhead.rows", len(found.values))
        values = [quoted_cell(value) for value in found.values]
        values = values[: fitting(values, "concise")]
        end = offset + len(values)
        following = session.cursor(end, list(existing)) if end < found.total else ""
        receipt = session.receipt(
            {name: grants[name] for name in found.products}, rows=len(values), sql=one_statement(found.sql)
        )
        shown = [one_line(str(plain(value)), 80) for value in values]
        return Answer(
            {"dimension": found.column.name, "values": values, "rows": list(found.rows[: len(values)])},
            receipt,
            text=session.fence.around("\n".join(shown)) if shown else "no values that you may see",
            page=Page(len(values), following),
        )

    return Tool(
        "dimension_values",
        "List a dimension's values that your rows hold, with row counts, to filter by exactly.",
        DimensionValuesArguments,
        run,
        open_world=True,
    )
