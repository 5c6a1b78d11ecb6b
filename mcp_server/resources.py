"""Every reference is a resource: reading one is its `describe` or `fetch`, with the same grants and audit."""

from __future__ import annotations

import json
from typing import Any

from mcp.types import (
    ListResourcesResult,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from mcp_server.answer import Answer
from mcp_server.answer_schema import ANSWER_SCHEMA
from mcp_server.references import DOC
from mcp_server.result_link import RESULT, read_result
from mcp_server.service import Service
from mcp_server.session import Caller
from semantic_layer.errors import UnknownName

JSON = "application/json"
SCHEMA_URI = "wellhead://answer-schema"

TEMPLATES = (
    ResourceTemplate(
        uri_template="dp://{product}",
        name="product",
        description="A data product: purpose, owner, datasets, metrics, freshness.",
        mime_type=JSON,
    ),
    ResourceTemplate(
        uri_template="dp://{product}/{dataset}",
        name="dataset",
        description="A dataset: its columns.",
        mime_type=JSON,
    ),
    ResourceTemplate(
        uri_template="metric://{product}/{metric}",
        name="metric",
        description="A metric: definition, dimensions, certification.",
        mime_type=JSON,
    ),
    ResourceTemplate(
        uri_template="doc://{product}/{passage}",
        name="passage",
        description="A passage that `search` found, with its neighbours.",
        mime_type=JSON,
    ),
    ResourceTemplate(
        uri_template="doc://{product}/{dataset}/{document}",
        name="document",
        description="A document's text, from its beginning.",
        mime_type=JSON,
    ),
)
_SCHEMA = Resource(
    uri=SCHEMA_URI, name="answer-schema", description="JSON Schema of every tool's answer.", mime_type=JSON
)


def list_resources(service: Service, caller: Caller, cursor: str | None) -> ListResourcesResult:
    """One page of what exists for the caller. Raises the error of a cursor that does not fit."""
    asked: dict[str, Any] = {"limit": 50, **({"cursor": cursor} if cursor else {})}
    answer = _answered(service.call(caller, "discover", asked))
    listed = [] if cursor else [_SCHEMA]
    for item in answer.data["results"]:
        listed.append(
            Resource(uri=item["ref"], name=item["name"], description=item.get("description"), mime_type=JSON)
        )
    following = answer.page.next_cursor if answer.page else ""
    return ListResourcesResult(resources=listed, next_cursor=following or None)


def read_resource(service: Service, caller: Caller, uri: str) -> ReadResourceResult:
    """What a reference names, as the answer's JSON. Raises UnknownName for what does not exist for the caller."""
    if uri == SCHEMA_URI:
        return _json_result(uri, dict(ANSWER_SCHEMA))
    if uri.startswith(RESULT):
        return _json_result(uri, read_result(service, caller, uri).to_json(fenced=True))
    if uri.startswith("wellhead://"):
        raise UnknownName("resource", uri, [SCHEMA_URI])
    tool = "fetch" if uri.startswith(DOC) else "describe"
    answer = _answered(service.call(caller, tool, {"ref": uri}))
    return _json_result(uri, answer.to_json(fenced=True))


def _answered(answer: Answer) -> Answer:
    if answer.error is not None:
        raise answer.error
    return answer


def _json_result(uri: str, data: dict[str, Any]) -> ReadResourceResult:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=JSON, text=text)])
