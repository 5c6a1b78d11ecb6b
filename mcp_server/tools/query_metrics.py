"""`query_metrics`: governed numbers, grouped and filtered, with the SQL they were computed by."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from indexes.measure import Measured, measure
from mcp_server.answer import Answer, Page
from mcp_server.arguments import Arguments, Filter
from mcp_server.fence import quoted_cell
from mcp_server.references import metric_reference
from mcp_server.reply_size import ResponseFormat, fitting
from mcp_server.session import Session
from mcp_server.table import text_table
from mcp_server.tool import Tool
from mcp_server.tracing import engine_span
from semantic_layer.plan.plan import OutputColumn
from semantic_layer.plan.query import MAX_LIMIT, MetricQuery
from semantic_layer.policy import Action

_INDENTED = re.compile(r"\s*\n\s*")


class QueryMetricsArguments(Arguments):
    metrics: Annotated[list[str] | None, Field(max_length=20)] = None
    dimensions: Annotated[
        list[str] | None, Field(max_length=20, description="From `describe`; metric_time__month")
    ] = None
    filters: Annotated[Filter | None, Field(description="{field, op, value}; all, any, not")] = None
    time: Annotated[
        dict[str, Any] | None, Field(description="{grain, start, end (exclusive), zone, dimension}")
    ] = None
    order: Annotated[list[str] | None, Field(description="-name descends")] = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    response_format: ResponseFormat = "concise"
    saved_query: str | None = None
    cursor: str | None = None


class WholeQueryArguments(QueryMetricsArguments):
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = MAX_LIMIT


def whole_query_tool(time_zone: str) -> Tool:
    """The same question with every row in one answer: for files, and on no list."""
    tool = query_metrics_tool(time_zone, whole=True)
    return replace(tool, arguments=WholeQueryArguments)


def query_metrics_tool(time_zone: str, *, whole: bool = False) -> Tool:
    """The tool; days and months are cut in `time_zone` where neither query nor model says otherwise.

    `whole` answers with all rows that were asked for, however many one reply holds.
    """

    def run(session: Session, asked: QueryMetricsArguments) -> Answer:
        grants = session.snapshot.grants(session.principal, Action.METRIC)
        existing = session.discoverable
        offset = session.offset(asked.cursor, list(existing))
        form = asked.model_dump(exclude_none=True, exclude={"cursor", "response_format"})
        if asked.saved_query and "limit" not in asked.model_fields_set:
            form.pop("limit")

        def measured(totals: bool | None) -> Measured:
            with engine_span("measure") as span:
                found = measure(
                    session.snapshot,
                    MetricQuery.from_json(form),
                    grants,
                    deadline_seconds=session.deadline.remaining,
                    as_of=session.now,
                    discover=existing,
                    default_zone=time_zone,
                    offset=offset,
                    totals=totals,
                    cancellation=session.cancellation,
                    admit=session.spending.scan,
                )
                span.set_attribute("wellhead.rows", len(found.rows))
            return found

        found = measured(None)
        rows = [{name: quoted_cell(value) for name, value in row.items()} for row in found.rows]
        rows = rows if whole else rows[: fitting(rows, asked.response_format)]
        if len(rows) < len(found.rows) and found.totals is None:
            found = measured(True)  # the page is what the reply holds, and totals belong beside a page
        end = offset + len(rows)
        following = session.cursor(end, list(existing)) if end < found.total_rows else ""
        names = [column.name for column in found.columns]
        data: dict[str, Any] = {
            "columns": [_column(column) for column in found.columns],
            "rows": rows,
        }
        if found.totals is not None:
            data["totals"] = dict(found.totals)
        receipt = session.receipt(
            {name: grants[name] for name in found.products},
            rows=len(rows),
            lineage=[metric_reference(product, metric) for product, metric in found.metrics],
            certification=_certification(session, found),
            sql=one_statement(found.sql),
            notes=found.notes,
        )
        return Answer(data, receipt, text_table(names, rows), Page(len(rows), following))

    return Tool(
        "query_metrics",
        "Query governed metrics (revenue, counts, rates) by dimensions, filters and time. The numbers are final: "
        "do not add them up again.",
        QueryMetricsArguments,
        run,
    )


def one_statement(sql: str) -> str:
    """The statement on one line: agents pay for indentation too."""
    return _INDENTED.sub(" ", sql)


def _column(column: OutputColumn) -> dict[str, Any]:
    form = {
        "name": column.name,
        "kind": column.kind,
        "type": column.type.value if column.type else "",
        "label": column.label,
        "unit": column.unit,
        "grain": column.grain.value if column.grain else "",
        "zone": column.zone,
    }
    return {name: value for name, value in form.items() if value}


def _certification(session: Session, found: Measured) -> dict[str, str]:
    """The state of each metric asked for."""
    states: dict[str, str] = {}
    for product, name in found.metrics:
        model = session.snapshot.generations[product].semantics
        metric = model.metric(name) if model else None
        if metric is not None:
            states[name] = metric.certification.state
    return states
