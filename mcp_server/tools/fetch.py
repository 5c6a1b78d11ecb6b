"""`fetch`: the text behind a citation, to quote from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from indexes.document import Chunk
from indexes.passages import Reading, read_document, read_passage
from mcp_server.answer import Answer, Page
from mcp_server.arguments import Arguments
from mcp_server.fence import Quoted, one_line
from mcp_server.references import TextReference, parse_text_reference
from mcp_server.reply_size import ResponseFormat
from mcp_server.session import Session
from mcp_server.tool import Tool
from semantic_layer.policy import Action

PAGE_CHARACTERS: Mapping[ResponseFormat, int] = {"concise": 4_000, "detailed": 40_000}


class FetchArguments(Arguments):
    ref: Annotated[str, Field(max_length=1_000, description="doc:// reference of a hit")]
    neighbours: Annotated[int, Field(ge=0, le=5)] = 1
    response_format: ResponseFormat = "concise"
    cursor: str | None = None


def _run(session: Session, asked: FetchArguments) -> Answer:
    ref = parse_text_reference(asked.ref)
    grants = {ref.product: session.grant(ref.product, Action.SEARCH)}
    if ref.passage:
        found = read_passage(session.snapshot, ref.product, ref.passage, grants, asked.neighbours)
    else:
        start = session.offset(asked.cursor, [ref.product])
        found = read_document(
            session.snapshot,
            ref.product,
            ref.dataset,
            ref.document,
            grants,
            start=start,
            characters=PAGE_CHARACTERS[asked.response_format],
        )
    following = session.cursor(found.next, [ref.product]) if found.next is not None else ""
    whole = TextReference(ref.product, dataset=found.dataset, document=found.document)
    receipt = session.receipt(
        grants,
        rows=len(found.passages),
        lineage=[str(TextReference(ref.product, passage=one.id)) for one in found.passages],
    )
    read = f"{one_line(found.title)}\n\n{joined(found)}"
    return Answer(
        {
            "ref": str(ref),
            "document": found.document,
            "document_ref": str(whole),
            "dataset": found.dataset,
            "title": Quoted(found.title),
            "passages": [_passage(ref.product, chunk) for chunk in found.passages],
        },
        receipt,
        text=f"{one_line(found.document)}\n{session.fence.around(read)}",
        page=Page(len(found.passages), following),
    )


def joined(found: Reading) -> str:
    """The passages as one text, without what each repeats of the one before; gaps are marked."""
    parts: list[str] = []
    end = None
    for chunk in found.passages:
        if end is not None and chunk.start > end + 2:
            parts.append("[…]")
        repeated = max(0, end - chunk.start) if end is not None else 0
        parts.append(chunk.text[repeated:])
        end = max(end or 0, chunk.end)
    return "\n".join(part for part in parts if part)


def _passage(product: str, chunk: Chunk) -> dict[str, Any]:
    form: dict[str, Any] = {
        "ref": str(TextReference(product, passage=chunk.id)),
        "text": Quoted(chunk.text),
        "start": chunk.start,
        "end": chunk.end,
        "sha256": chunk.sha256,
    }
    if chunk.page is not None:
        form["page"] = chunk.page
    if chunk.headings:
        form["headings"] = [Quoted(heading) for heading in chunk.headings]
    return form


FETCH = Tool(
    "fetch",
    "Read the passage behind a hit with its neighbours, or a document page by page, to quote exactly.",
    FetchArguments,
    _run,
    open_world=True,
)
