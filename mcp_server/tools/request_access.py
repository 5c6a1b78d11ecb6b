"""`request_access`: ask a product's owner for access, with a purpose, and see what was decided."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mcp_server.access_requests import AccessRequest, AccessRequests
from mcp_server.answer import Answer
from mcp_server.arguments import Arguments
from mcp_server.fence import one_line
from mcp_server.identity import REQUEST
from mcp_server.session import Session
from mcp_server.tool import Tool
from semantic_layer.errors import InvalidArgument, UnknownName


class RequestAccessArguments(Arguments):
    product: str | None = None
    purpose: Annotated[str, Field(max_length=500)] = ""
    request: Annotated[str | None, Field(description="Id of an earlier request")] = None


def request_access_tool(requests: AccessRequests) -> Tool:
    """The tool over these requests. A request gives no right: its owner decides, and a policy carries it out."""

    def run(session: Session, asked: RequestAccessArguments) -> Answer:
        if asked.request:
            found = _own(session, requests, asked.request)
        else:
            if not asked.product or not one_line(asked.purpose):
                raise InvalidArgument("arguments 'product' and 'purpose' are required.", hint="Or give `request`.")
            session.product(asked.product)
            found = requests.submit(session.principal.subject, asked.product, one_line(asked.purpose, 500))
        text = f"{found.id}: {found.state}"
        if found.state == "pending":
            text += "; ask again with `request` to see what was decided"
        return Answer({"request": found.to_json()}, session.receipt({}), text=text)

    return Tool(
        "request_access",
        "Ask a data product's owner for access; with `request` see whether it was approved.",
        RequestAccessArguments,
        run,
        scope=REQUEST,
        read_only=False,
    )


def _own(session: Session, requests: AccessRequests, request_id: str) -> AccessRequest:
    """A request of the caller's own; those of others do not exist for it."""
    found = requests.get(request_id)
    if found.subject != session.principal.subject:
        raise UnknownName("access request", request_id[:100], hint="Give the id that `request_access` gave.")
    return found
