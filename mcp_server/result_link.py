"""A link to the whole of a reply that was cut: reading it asks again, under the reader's rights of that moment."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, cast

from mcp.types import ResourceLink

from mcp_server.answer import Answer
from mcp_server.cursor import Question
from mcp_server.service import Service
from mcp_server.session import Caller
from semantic_layer.errors import UnknownName

RESULT = "wellhead://result/"
MAX_LINKED_CHARACTERS = 1_500
"""Arguments longer than this are not put into a link; the cursor serves those."""


def result_link(
    service: Service, caller: Caller, tool: str, arguments: Mapping[str, Any] | None, answer: Answer
) -> ResourceLink | None:
    """The link beside a page that more follows; None for a reply that is whole or was asked for in detail.

    It is signed for this caller, these arguments and the edition that was read, and expires as cursors do.
    """
    asked = dict(arguments or {})
    more = answer.page is not None and bool(answer.page.next_cursor)
    takes = tool in service.tools and "response_format" in service.tools[tool].arguments.model_fields
    if not (more and takes) or asked.get("response_format") == "detailed":
        return None
    encoded = _encode(asked)
    if len(encoded) > MAX_LINKED_CHARACTERS:
        return None
    question = Question(caller.principal, tool, asked, _cut(answer))
    uri = f"{RESULT}{tool}/{encoded}/{service.cursors.write(question, 0)}"
    return ResourceLink(
        type="resource_link",
        uri=uri,
        name=f"{tool}-result",
        description="The same question, answered in detail.",
        mime_type="application/json",
    )


def read_result(service: Service, caller: Caller, uri: str) -> Answer:
    """The detailed answer behind a link. Raises UnknownName for what is no link, InvalidArgument for one that is
    another caller's, was edited or has expired, and whatever refuses the call today.
    """
    tool, asked, signature = _parts(uri)
    answer = service.call(caller, tool, {**asked, "response_format": "detailed"})
    if answer.error is not None:
        raise answer.error
    service.cursors.read(signature, Question(caller.principal, tool, asked, _cut(answer)))
    return answer


def _parts(uri: str) -> tuple[str, dict[str, Any], str]:
    parts = uri.removeprefix(RESULT).split("/")
    try:
        tool, encoded, signature = parts
        asked = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise UnknownName("resource", uri[:100]) from None
    if not isinstance(asked, dict):
        raise UnknownName("resource", uri[:100])
    return tool, cast("dict[str, Any]", asked), signature


def _cut(answer: Answer) -> dict[str, str]:
    return {"edition": str(answer.receipt.edition)}


def _encode(asked: Mapping[str, Any]) -> str:
    text = json.dumps(asked, separators=(",", ":"), sort_keys=True, default=str)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
