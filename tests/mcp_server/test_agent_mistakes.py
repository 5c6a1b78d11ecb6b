"""What agents get wrong at first: each answer says in one line what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from indexes.library import LiveGeneration
from indexes.lookup import MaskingReader
from mcp_server.references import parse_text_reference
from mcp_server.service import Service
from mcp_server.session import Caller
from mcp_server.tools.lookup import opened_for
from semantic_layer.errors import EngineUnavailable, InvalidArgument, WellheadError
from semantic_layer.product import Dataset
from tests.mcp_server.callers import EU, Asker


def mistake(ask: Asker, tool: str, **asked: Any) -> str:
    error = ask(EU, tool, **asked).error
    assert isinstance(error, WellheadError)
    assert "\n" not in str(error)
    assert len(str(error)) < 400
    return str(error)


@pytest.mark.parametrize(
    ("tool", "asked", "said"),
    [
        ("search", {"query": "x"}, "'question'"),
        ("search", {"question": "x", "top_k": 3}, "'limit'"),
        ("query_metrics", {"metrics": ["revenue"], "group_by": ["region"]}, "'dimensions'"),
        ("dimension_values", {"dimension": "order__region", "search": "E"}, "'contains'"),
        ("lookup", {"product": "sales", "table": "orders"}, "'dataset'"),
        ("fetch", {"id": "x"}, "'ref'"),
        ("trace", {"id": "x"}, "'audit_id'"),
        ("search", {"question": "x", "products": "handbook"}, 'must be a list, such as ["handbook"]'),
        ("query_metrics", {"metrics": ["revenue"], "time": "2025"}, "'time' must be an object"),
        ("search", {"question": "x", "filters": {"region": "EU"}}, '{"field": "region", "op": "eq"'),
        ("describe", {"ref": "doc://handbook/0000"}, "`fetch`"),
        ("describe", {"ref": "metric://sales/revenu"}, "Did you mean 'revenue'?"),
        ("describe", {"ref": "dp://nothing-like-it"}, "`discover`"),
        ("lookup", {"product": "sales", "dataset": "orders", "key": {"id": "O1"}}, "`describe` lists"),
    ],
)
def test_a_mistake_is_answered_with_what_to_write(ask: Asker, tool: str, asked: dict[str, Any], said: str) -> None:
    assert said in mistake(ask, tool, **asked)


def test_what_one_tool_shows_another_one_takes(ask: Asker) -> None:
    refs = [item["ref"] for item in ask.ok(EU, "discover", limit=50).data["results"]]
    for ref in refs:
        ask.ok(EU, "describe", ref=ref)
    metrics = [ref for ref in refs if ref.startswith("metric://sales/")]
    assert ask.ok(EU, "query_metrics", metrics=metrics[:2]).data["rows"]
    assert ask.ok(EU, "status", product="dp://sales").data
    dimension = ask.ok(EU, "discover", kind="dimension").data["results"][0]
    ask.ok(EU, "dimension_values", dimension=dimension["ref"])
    by_reference = ask.ok(EU, "lookup", dataset="dp://sales/orders", limit=2)
    assert (
        by_reference.data["rows"] == ask.ok(EU, "lookup", product="sales", dataset="orders", limit=2).data["rows"]
    )
    assert ask.ok(EU, "search", question="parcel", products=["dp://handbook"]).data["hits"] is not None


@pytest.mark.parametrize(
    "asked",
    [
        {"product": "handbook", "dataset": "dp://sales/orders"},
        {"product": "dp://sales/orders", "dataset": "orders"},
        {"product": "metric://sales/revenue", "dataset": "orders"},
    ],
)
def test_a_reference_of_another_kind_or_product_is_no_name(ask: Asker, asked: dict[str, Any]) -> None:
    assert "unknown_name" in mistake(ask, "lookup", **asked)


def test_a_documents_slashes_need_no_escape() -> None:
    escaped = parse_text_reference("doc://handbook/pages/public%2Freturns.md")
    assert parse_text_reference("doc://handbook/pages/public/returns.md") == escaped
    assert parse_text_reference(str(escaped)) == escaped


def test_a_caller_hears_nothing_of_a_live_sources_settings_and_the_command_line_does(service: Service) -> None:
    def unset(generation: LiveGeneration, dataset: Dataset) -> MaskingReader:
        raise InvalidArgument("server 'db' needs the environment variable SECRET_DSN, which is not set.")

    with service.library.pin() as snapshot:
        sales = snapshot.generations["sales"]
        with pytest.raises(EngineUnavailable) as told:
            opened_for(Caller(EU, "http"), unset, sales, sales.product.datasets[0])
        assert "SECRET_DSN" not in str(told.value)
        with pytest.raises(InvalidArgument, match="SECRET_DSN"):
            opened_for(Caller(EU, "cli"), unset, sales, sales.product.datasets[0])
