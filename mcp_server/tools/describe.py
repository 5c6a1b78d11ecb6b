"""`describe`: one product, dataset, metric or other part of the catalogue in full."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import Field

from mcp_server.answer import Answer
from mcp_server.arguments import Arguments
from mcp_server.description import described
from mcp_server.fence import one_line
from mcp_server.references import DOC
from mcp_server.reply_size import ResponseFormat, shortened
from mcp_server.session import Session
from mcp_server.tool import Tool
from semantic_layer.errors import InvalidArgument


class DescribeArguments(Arguments):
    ref: Annotated[str, Field(max_length=300, description="From `discover`")]
    response_format: ResponseFormat = "concise"


def _run(session: Session, asked: DescribeArguments) -> Answer:
    if asked.ref.startswith(DOC):
        raise InvalidArgument(f"{asked.ref[:100]!r} is a text.", hint="Read it with `fetch`.")
    item = session.snapshot.catalog.item(asked.ref, session.visibility)
    data, left_out = shortened(described(session, item), asked.response_format)
    certification = {item.name: str(data["certification"])} if "certification" in data else None
    receipt = session.receipt(
        {item.product: session.discoverable[item.product]},
        lineage=[item.ref],
        certification=certification,
        notes=left_out,
    )
    return Answer(data, receipt, text=_text(data))


def _text(data: dict[str, Any]) -> str:
    """The description as lines, one a part."""
    lines = [f"{data['ref']} {data['kind']}"]
    for name, value in data.items():
        if name in ("ref", "kind", "name"):
            continue
        if isinstance(value, list):
            lines.append(f"{name}:")
            lines.extend(f"- {_part(part)}" for part in cast("list[Any]", value))
        else:
            lines.append(f"{name}: {one_line(str(value), 400)}")
    return "\n".join(lines)


def _part(part: Any) -> str:
    if not isinstance(part, dict):
        return one_line(str(part))
    form = cast("dict[str, Any]", part)
    words = [str(form.get("ref") or form.get("name")), str(form.get("type", ""))]
    words += [mark for mark in ("masked", "searched", "time", "deprecated") if form.get(mark)]
    words.append(one_line(str(form.get("description") or form.get("words", "")), 120))
    return " ".join(word for word in words if word)


DESCRIBE = Tool(
    "describe",
    "Describe a data product, dataset or metric: meaning, columns, dimensions, owner, what you may do.",
    DescribeArguments,
    _run,
    at_once=True,
)
