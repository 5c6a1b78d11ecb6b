"""`search`: passages of documents and text columns that answer a question, with citations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from indexes.document import Hit
from indexes.question import Question
from indexes.retrieve import retrieve
from mcp_server.answer import Answer, Page
from mcp_server.arguments import Arguments, Filter
from mcp_server.fence import Quoted, one_line, quoted_cell
from mcp_server.references import TextReference
from mcp_server.reply_size import ResponseFormat, fitting
from mcp_server.session import Session
from mcp_server.snippet import Snippets
from mcp_server.tool import Tool
from mcp_server.tracing import engine_span
from semantic_layer.filter_form import parse_filter
from semantic_layer.policy import Action

SNIPPET_CHARACTERS = 500
TEXT_SNIPPET_CHARACTERS = 400


class SearchArguments(Arguments):
    question: Annotated[str, Field(min_length=1, max_length=2_000, description='Words; "quoted" = exact phrase')]
    products: Annotated[list[str] | None, Field(max_length=50)] = None
    filters: Annotated[Filter | None, Field(description="{field, op, value}; all, any, not")] = None
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    mode: Literal["hybrid", "vector", "text"] = "hybrid"
    rerank: bool = False
    response_format: ResponseFormat = "concise"
    cursor: str | None = None


def _run(session: Session, asked: SearchArguments) -> Answer:
    grants = session.grants(Action.SEARCH, asked.products or [])
    offset = session.offset(asked.cursor, list(grants))
    session.spending.scan(session.passages(grants))
    question = Question(
        text=asked.question,
        products=tuple(asked.products or ()),
        where=parse_filter(asked.filters),
        mode=asked.mode,
        k=asked.limit,
        offset=offset,
        rerank=asked.rerank,
    )
    with engine_span("retrieve") as span:
        found = retrieve(session.snapshot, question, grants)
        span.set_attribute("wellhead.rows", len(found.hits))
    snippets = Snippets(asked.question)
    forms = [_form(hit, snippets, detailed=asked.response_format == "detailed") for hit in found.hits]
    forms = forms[: fitting(forms, asked.response_format)]
    hits = found.hits[: len(forms)]
    more = found.more or len(hits) < len(found.hits)
    following = session.cursor(offset + len(hits), list(grants)) if more else ""
    receipt = session.receipt(
        grants if asked.products else {hit.product: grants[hit.product] for hit in hits} or grants,
        rows=len(hits),
        lineage=[str(_reference(hit)) for hit in hits],
        not_checked=found.not_checked,
        notes=found.notes,
    )
    lines = [_line(offset + place, hit, snippets, session) for place, hit in enumerate(hits, 1)]
    return Answer(
        {"hits": forms},
        receipt,
        text="\n".join(lines) or "nothing found that you may see",
        page=Page(len(hits), following),
    )


def _reference(hit: Hit) -> TextReference:
    return TextReference(hit.product, passage=hit.chunk_id)


def _form(hit: Hit, snippets: Snippets, *, detailed: bool) -> dict[str, Any]:
    """A hit with its citation. Ranks, not scores: scores tell of texts that others own."""
    form: dict[str, Any] = {
        "ref": str(_reference(hit)),
        "document": hit.document,
        "title": Quoted(one_line(hit.title)),
        "text": Quoted(hit.text if detailed else snippets.of(hit.text, SNIPPET_CHARACTERS)),
        "product": hit.product,
        "dataset": hit.dataset,
        "start": hit.start,
        "end": hit.end,
        "sha256": hit.sha256,
    }
    if hit.page is not None:
        form["page"] = hit.page
    if detailed and hit.headings:
        form["headings"] = [Quoted(heading) for heading in hit.headings]
    if detailed and hit.columns:
        form["columns"] = {name: quoted_cell(value) for name, value in hit.columns.items()}
    return form


def _line(place: int, hit: Hit, snippets: Snippets, session: Session) -> str:
    page = f" p. {hit.page}" if hit.page is not None else ""
    title = one_line(hit.title, 100)
    part = snippets.of(hit.text, SNIPPET_CHARACTERS)
    words = snippets.of(one_line(part, SNIPPET_CHARACTERS), TEXT_SNIPPET_CHARACTERS)
    said = f"{title}: {words}" if title else words
    return f"{place}. {_reference(hit)} ({one_line(hit.document, 120)}{page})\n{session.fence.around(said)}"


SEARCH = Tool(
    "search",
    "Search documents and text fields for passages that answer a question, with citations; `fetch` reads on.",
    SearchArguments,
    _run,
    open_world=True,
)
