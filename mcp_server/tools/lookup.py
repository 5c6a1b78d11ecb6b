"""`lookup`: single records by key or filter, live where the contract says so."""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from indexes.library import LiveGeneration
from indexes.lookup import MaskingReader, OpenLive, RecordQuestion, lookup
from mcp_server.answer import Answer, Page
from mcp_server.arguments import Arguments, Filter
from mcp_server.fence import quoted_cell
from mcp_server.references import dataset_reference
from mcp_server.reply_size import ResponseFormat, cut_cells, fitting
from mcp_server.session import Caller, Session
from mcp_server.table import text_table
from mcp_server.tool import Tool
from mcp_server.tracing import engine_span
from semantic_layer.errors import EngineUnavailable, InvalidArgument
from semantic_layer.filter_form import parse_filter
from semantic_layer.policy import Action
from semantic_layer.product import Dataset

log = logging.getLogger("wellhead.server")


class LookupArguments(Arguments):
    product: str
    dataset: str
    key: Annotated[str | int | dict[str, Any] | None, Field(description="Value, or {column: value}")] = None
    filters: Annotated[Filter | None, Field(description="{field, op, value}; all, any, not")] = None
    columns: list[str] | None = None
    order: Annotated[list[str] | None, Field(description="-name descends")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    response_format: ResponseFormat = "concise"
    cursor: str | None = None


def lookup_tool(open_live: OpenLive) -> Tool:
    """The tool over this way to open live readers."""

    def run(session: Session, asked: LookupArguments) -> Answer:
        grants = {asked.product: session.grant(asked.product, Action.LOOKUP)}
        offset = session.offset(asked.cursor, [asked.product])
        question = RecordQuestion(
            product=asked.product,
            dataset=asked.dataset,
            key=asked.key,
            where=parse_filter(asked.filters),
            columns=tuple(asked.columns or ()),
            order=tuple(asked.order or ()),
            limit=asked.limit,
            offset=offset,
        )
        with engine_span("lookup") as span:
            found = lookup(
                session.snapshot,
                question,
                grants,
                deadline_seconds=session.deadline.remaining,
                open_live=partial(opened_for, session.caller, open_live),
            )
            span.set_attribute("wellhead.rows", len(found.rows))
        rows = [{name: quoted_cell(value) for name, value in row.items()} for row in found.rows]
        rows = [cut_cells(row, asked.response_format) for row in rows]
        rows = rows[: fitting(rows, asked.response_format)]
        more = found.more or len(rows) < len(found.rows)
        following = session.cursor(offset + len(rows), [asked.product]) if more else ""
        receipt = session.receipt(
            grants,
            rows=len(rows),
            cut="live" if found.live else "edition",
            masked=found.masked,
            lineage=[dataset_reference(asked.product, asked.dataset)],
        )
        return Answer(
            {"columns": list(found.columns), "rows": rows},
            receipt,
            text=session.fence.around(text_table(found.columns, rows)) if rows else "no such records",
            page=Page(len(rows), following),
        )

    return Tool(
        "lookup",
        "Look up records of a dataset by key or filter. For totals use `query_metrics`.",
        LookupArguments,
        run,
        open_world=True,
    )


def opened_for(caller: Caller, open_live: OpenLive, generation: LiveGeneration, dataset: Dataset) -> MaskingReader:
    """The live reader. What is wrong with its settings is no mistake of a caller's, who does not hear of it either."""
    try:
        return open_live(generation, dataset)
    except InvalidArgument as wrong:
        if caller.transport == "cli":
            raise
        log.error("the live dataset %r of %r cannot be opened: %s", dataset.name, generation.product.name, wrong)
        raise EngineUnavailable(
            f"the live source of {dataset.name!r} cannot be read at the moment.",
            hint="Whoever runs the server finds the reason in its log.",
        ) from None
