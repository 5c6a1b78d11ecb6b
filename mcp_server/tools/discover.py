"""`discover`: what there is for this caller, by the words of a question."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mcp_server.answer import Answer, Page
from mcp_server.arguments import Arguments
from mcp_server.fence import one_line
from mcp_server.reply_size import fitting
from mcp_server.session import Session
from mcp_server.tool import Tool
from semantic_layer.catalog import KINDS, CatalogItem, Kind

DESCRIPTION_CHARACTERS = 160
WHOLE: tuple[Kind, ...] = ("product", "dataset", "metric", "query")
"""What is listed when nothing is asked: columns and dimensions are parts of these."""


class DiscoverArguments(Arguments):
    query: Annotated[str, Field(max_length=500, description="Words; empty lists all")] = ""
    kind: Kind | None = None
    product: str | None = None
    limit: Annotated[int, Field(ge=1, le=50)] = 20
    cursor: str | None = None


def _run(session: Session, asked: DiscoverArguments) -> Answer:
    grants = session.discoverable
    offset = session.offset(asked.cursor, list(grants))
    found = _found(session, asked)
    page = found[offset : offset + asked.limit]
    page = page[: fitting([_form(item) for item in page], "concise")]
    end = offset + len(page)
    following = session.cursor(end, list(grants)) if len(found) > end else ""
    touched = {item.product: grants[item.product] for item in page}
    return Answer(
        {"results": [_form(item) for item in page]},
        session.receipt(touched, rows=len(page)),
        text="\n".join(_line(item) for item in page) or "nothing that exists for you",
        page=Page(len(page), following),
    )


def _found(session: Session, asked: DiscoverArguments) -> list[CatalogItem]:
    """All items that fit, best first; without words in the catalogue's order."""
    catalog, visible = session.snapshot.catalog, session.visibility
    if asked.product is not None:
        session.product(asked.product)
    kinds = (asked.kind,) if asked.kind else KINDS if asked.query.strip() else WHOLE
    hits = catalog.search(asked.query, visible, kinds, limit=len(catalog.items))
    return [hit.item for hit in hits if asked.product in (None, hit.item.product)]


def _form(item: CatalogItem) -> dict[str, Any]:
    form: dict[str, Any] = {"ref": item.ref, "kind": item.kind, "name": item.name, "product": item.product}
    if item.title:
        form["title"] = item.title
    if item.description:
        form["description"] = one_line(item.description, DESCRIPTION_CHARACTERS)
    if item.deprecated:
        form["deprecated"] = item.deprecated
    if item.certified:
        form["certified"] = True
    return form


def _line(item: CatalogItem) -> str:
    marks = [mark for mark, true in (("certified", item.certified), ("deprecated", item.deprecated)) if true]
    words = [item.ref, *marks, one_line(item.description or item.title, DESCRIPTION_CHARACTERS)]
    return " ".join(word for word in words if word)


DISCOVER = Tool(
    "discover",
    "Find data products, datasets, metrics and columns by meaning. Start here; hand a ref to `describe`.",
    DiscoverArguments,
    _run,
)
