"""The list of tools is small, closed and stable: agents pay for each byte of it in every conversation."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from mcp_server.answer_schema import ANSWER_SCHEMA
from mcp_server.arguments import input_schema
from mcp_server.service import Service
from semantic_layer.identity_settings import SCOPES
from tests.mcp_server.callers import EU, OPERATOR, PUBLIC, Asker

TEN = [
    "discover",
    "describe",
    "search",
    "fetch",
    "query_metrics",
    "dimension_values",
    "lookup",
    "trace",
    "status",
    "feedback",
]


def listed(service: Service, principal: Any = EU) -> list[dict[str, Any]]:
    """The tools as they go over the wire."""
    tools = [tool.described() for tool in service.tools_of(principal)]
    return [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in tools]


def size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def test_readers_see_ten_tools_and_operators_three_more(service: Service) -> None:
    assert [tool["name"] for tool in listed(service)] == TEN
    assert [tool["name"] for tool in listed(service, PUBLIC)] == TEN
    assert [tool["name"] for tool in listed(service, OPERATOR)] == [*TEN, "ingest", "release", "evaluate"]


def test_names_words_and_input_schemas_of_the_ten_fit_in_6_kb(service: Service) -> None:
    without_output = [{k: v for k, v in tool.items() if k != "outputSchema"} for tool in listed(service)]
    assert size(without_output) <= 6_000


def test_the_whole_list_fits_in_10_kb_also_for_operators(service: Service) -> None:
    everything = replace(OPERATOR, scopes=frozenset(SCOPES))
    assert len(listed(service, everything)) == len(service.tools)
    assert size({"tools": listed(service, everything)}) <= 10_000
    assert all(size(tool["outputSchema"]) <= 350 for tool in listed(service, OPERATOR))


def test_every_tool_is_closed_annotated_and_well_named(service: Service) -> None:
    for tool in listed(service, OPERATOR):
        assert tool["inputSchema"]["additionalProperties"] is False
        assert re.fullmatch(r"[a-z][a-z_]{2,39}", tool["name"])
        assert {"readOnlyHint", "idempotentHint", "openWorldHint"} <= tool["annotations"].keys()
        jsonschema.Draft202012Validator.check_schema(tool["inputSchema"])


def test_every_number_and_text_an_agent_may_send_is_bounded_where_it_costs(service: Service) -> None:
    for tool in listed(service, OPERATOR):
        for name, schema in tool["inputSchema"]["properties"].items():
            if schema.get("type") == "integer":
                assert "minimum" in schema, (tool["name"], name)


@pytest.mark.parametrize("tool", TEN)
def test_every_tool_refuses_an_argument_it_does_not_know(ask: Asker, tool: str) -> None:
    answer = ask(EU, tool, bogus=1)
    assert answer.error is not None
    assert answer.error.code == "unknown_name"
    assert "'bogus'" in answer.error.message


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("discover", {"query": "orders"}),
        ("describe", {"ref": "sales"}),
        ("search", {"question": "returns"}),
        ("query_metrics", {"metrics": ["revenue"], "dimensions": ["region"]}),
        ("lookup", {"product": "sales", "dataset": "orders"}),
        ("lookup", {"product": "nothing", "dataset": "orders"}),
        ("query_metrics", {"metrics": ["customers"]}),
        ("status", {}),
    ],
)
def test_every_answer_fits_the_published_schema(
    ask: Asker, service: Service, tool: str, arguments: dict[str, Any]
) -> None:
    answer = ask(EU, tool, **arguments)
    jsonschema.validate(json.loads(json.dumps(answer.to_json(fenced=True))), dict(ANSWER_SCHEMA))
    jsonschema.validate(arguments, input_schema(service.tools[tool].arguments))
