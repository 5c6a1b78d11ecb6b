"""Attacks on tenancy, cases 21 to 37 of docs/threats.md that no other test holds."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.types import INVALID_PARAMS

from indexes.ledger import Ledger
from mcp_server.arguments import input_schema
from mcp_server.opening import serving
from mcp_server.result_link import read_result, result_link
from mcp_server.service import Service
from mcp_server.session import Caller
from mcp_server.settings import serving_settings
from semantic_layer.errors import UnknownName
from semantic_layer.policy import Policy
from semantic_layer.policy_file import policy_to_json
from semantic_layer.principal import Principal
from tests.mcp_server.callers import EU, OPERATOR, PUBLIC, US, Asker
from tests.mcp_server.running import Running
from tests.mcp_server.wire import Wire, message
from tests.workspace_factory import BuiltWorkspace

SALES = {"products": ["sales"]}


@pytest.fixture
def wire(running: Running) -> Iterator[Wire]:
    with httpx2.Client(base_url=running.origin, timeout=30) as http:
        yield Wire(http, running.token(EU))


HIDDEN = (
    ("ingest", "injest"),
    ("release", "releaze"),
    ("request_access", "request_accezz"),
    ("query_sql", "query_tql"),
)


def told(response: httpx2.Response, name: str) -> tuple[int, str, int]:
    """Status, content type and message that a caller gets, without what differs by time and by the name itself."""
    found = re.sub(r"a-\d{8}T\d{6}-[0-9a-f]{12}", "AUDIT", json.dumps(message(response)))
    return (
        response.status_code,
        response.headers["content-type"] + found.replace(name, "?"),
        len(found) - len(name),
    )


def test_case_21_a_hidden_tool_reads_like_an_unknown_one(wire: Wire) -> None:
    for hidden, absent in HIDDEN:
        said = [wire.ask("tools/call", name=name, arguments={"products": ["sales"]}) for name in (hidden, absent)]
        assert told(said[0], hidden) == told(said[1], absent)
        assert message(said[0])["error"]["code"] == INVALID_PARAMS


@pytest.mark.parametrize("value", ["sales", "", "=?base64?c2FsZXM=?=", "=?base64?!!?=", "x" * 5_000])
def test_case_22_parameter_headers_tell_a_hidden_tool_from_no_unknown_one(
    wire: Wire, service: Service, value: str
) -> None:
    """The headers are checked against a tool's schema before anybody asks who calls, so none may name a parameter."""
    for hidden, absent in HIDDEN:
        schema = input_schema(service.tools[hidden].arguments)
        assert "x-mcp-header" not in json.dumps(schema)
        for parameter in (*schema["properties"], "nothing"):
            sent = {f"Mcp-Param-{parameter}": value, f"mcp-param-{parameter.replace('_', '-')}": value}
            asked = {parameter: "other"}
            said = [wire.ask("tools/call", sent, name=name, arguments=asked) for name in (hidden, absent)]
            assert told(said[0], hidden) == told(said[1], absent)


def test_case_22_no_tool_mirrors_a_parameter_in_a_header(service: Service) -> None:
    assert all("x-mcp-header" not in json.dumps(input_schema(tool.arguments)) for tool in service.tools.values())


def test_case_23_another_tenants_reference_reads_like_an_absent_one(ask: Asker) -> None:
    for hidden, absent in (("dp://sales", "dp://tales"), ("metric://sales/revenue", "metric://tales/revenue")):
        said = [str(ask(PUBLIC, "describe", ref=ref).error) for ref in (hidden, absent)]
        assert said[0].replace("sales", "?") == said[1].replace("tales", "?")


@pytest.mark.parametrize(
    ("tool", "asked"),
    [
        ("discover", {"query": "revenue orders sales email"}),
        ("describe", {"ref": "salez"}),
        ("search", {"question": "x", "products": ["salez"]}),
        ("query_metrics", {"metrics": ["revenu"]}),
        ("dimension_values", {"dimension": "regio"}),
        ("lookup", {"product": "salez", "dataset": "order"}),
        ("status", {"product": "salez"}),
        ("fetch", {"ref": "doc://salez/0000"}),
    ],
)
def test_case_24_no_list_or_suggestion_names_what_is_foreign(ask: Asker, tool: str, asked: dict[str, Any]) -> None:
    answer = ask(PUBLIC, tool, **asked)
    text = json.dumps(answer.to_json()).replace("salez", "").replace("revenu\\u0027", "")
    for name in ("sales", "revenue", "order_count", "orders", "email"):
        assert f'{name}"' not in text
        assert f"'{name}'" not in text


def test_case_25_random_questions_bring_out_no_canary_of_another_region(ask_crowded: Asker) -> None:
    words = [
        "parcel",
        "box",
        "wet",
        "remark",
        "boots",
        "margin",
        "teal",
        "colour",
        "CANARYAPAC",
        "zipper",
        "target",
        "region",
        "squeak",
    ]
    for number in range(150):
        question = " ".join(words[(number * step) % len(words)] for step in (1, 3, 7))
        asked: dict[str, Any] = {"question": question, "limit": 1 + number % 50}
        asked |= {"mode": ("hybrid", "vector", "text")[number % 3], "response_format": "detailed"}
        text = json.dumps(ask_crowded(EU, "search", **asked).to_json())
        assert 'CANARYAPAC"' not in text.replace(question, "")
        assert "Remark " not in text
        assert "us-margins" not in text


def test_case_26_the_nearest_neighbours_forbidden_the_allowed_are_still_found(ask_crowded: Asker) -> None:
    """Hundreds of remarks say the very words; a caller of the EU still gets all that it may see."""
    found = ask_crowded.ok(EU, "search", question="the box was wet", limit=10, **SALES, response_format="detailed")
    assert len(found.data["hits"]) == 2
    assert all("wet" not in hit["text"] for hit in found.data["hits"])


@pytest.mark.parametrize(
    ("tool", "asked"),
    [
        ("search", {"question": "please ring the bell", **SALES}),
        ("search", {"question": "the box was wet", "limit": 1, **SALES}),
        ("lookup", {"product": "sales", "dataset": "orders", "limit": 2}),
        ("query_metrics", {"metrics": ["order_count"], "dimensions": ["region"]}),
        ("dimension_values", {"dimension": "region"}),
    ],
)
def test_cases_27_and_28_forbidden_rows_change_no_count_page_or_order(
    ask: Asker, ask_crowded: Asker, tool: str, asked: dict[str, Any]
) -> None:
    without, among = (one.ok(EU, tool, **asked) for one in (ask, ask_crowded))
    assert without.page is not None
    assert among.page is not None
    assert (without.page.returned, bool(without.page.next_cursor)) == (
        among.page.returned,
        bool(among.page.next_cursor),
    )
    key = "hits" if tool == "search" else "rows"
    shown = [
        [one.get("sha256", one) if isinstance(one, dict) else one for one in a.data[key]] for a in (without, among)
    ]
    assert shown[0] == shown[1]


def test_case_28_no_score_is_ever_shown(ask: Asker) -> None:
    for mode in ("hybrid", "vector", "text"):
        found = ask.ok(EU, "search", question="boots", mode=mode, response_format="detailed")
        assert "score" not in json.dumps(found.to_json())


def test_cases_29_and_30_the_same_question_by_two_callers_shares_no_answer(ask: Asker, wire: Wire) -> None:
    for question in ("target margin for boots", "target margin for the boots"):
        seen = [
            [hit["document"] for hit in ask.ok(who, "search", question=question, limit=20).data["hits"]]
            for who in (EU, US, EU, US)
        ]
        assert seen[0] == seen[2]
        assert seen[1] == seen[3]
        assert "us-margins.md" not in seen[0]
        assert "eu-margins.md" not in seen[1]
    listed = wire.ask("tools/list")
    assert '"cacheScope":"private"' in listed.text.replace(" ", "")


def test_case_31_a_revoked_right_is_gone_from_an_issued_link_at_once(tiny: BuiltWorkspace, tmp_path: Path) -> None:
    shutil.copytree(tiny.root, tmp_path / "own", symlinks=True)
    own = BuiltWorkspace(tmp_path / "own")
    with serving(serving_settings(own.door), {}) as service:
        caller, asked = Caller(EU, "http"), {"product": "sales", "dataset": "orders", "limit": 1}
        link = result_link(service, caller, "lookup", asked, service.call(caller, "lookup", asked))
        assert link is not None
        assert read_result(service, caller, str(link.uri)).error is None
        Ledger(own.home).publish_policies({"sales": policy_to_json(Policy("sales"))}, by="test")
        with pytest.raises(UnknownName):
            read_result(service, caller, str(link.uri))


@pytest.mark.parametrize(
    "smuggled",
    [{"tenant_id": "US"}, {"acl": ["*"]}, {"filter": {"tenant": "US"}}, {"principal": "uma"}, {"as": "US"}],
)
def test_case_33_nobody_chooses_a_tenant_by_argument(ask: Asker, smuggled: dict[str, Any]) -> None:
    answer = ask(EU, "search", question="boots", **smuggled)
    assert answer.error is not None
    assert answer.error.code == "unknown_name"


def test_case_33_a_filter_widens_nothing(ask: Asker) -> None:
    others = {
        "any": [{"field": "region", "op": "eq", "value": "US"}, {"field": "region", "op": "eq", "value": "EU"}]
    }
    rows = ask.ok(EU, "lookup", product="sales", dataset="orders", filters=others).data["rows"]
    assert {row["region"] for row in rows} == {"EU"}


def test_case_35_a_column_that_is_not_granted_stands_in_no_description(ask: Asker) -> None:
    for ref in ("sales", "dp://sales/orders", "metric://sales/order_count", "metric://sales/customers"):
        assert "email" not in json.dumps(ask(OPERATOR, "describe", ref=ref).to_json())
    assert "email" not in json.dumps(ask(OPERATOR, "discover", query="email address customer").data)


def test_case_36_no_answer_holds_a_vector(ask: Asker) -> None:
    def numbers(value: Any) -> int:
        if isinstance(value, dict):
            return max((numbers(one) for one in value.values()), default=0)
        if isinstance(value, list):
            return max([sum(isinstance(one, float) for one in value), *map(numbers, value)], default=0)
        return 0

    for who in (EU, OPERATOR):
        for tool, asked in (("search", {"question": "boots", "rerank": True}), ("describe", {"ref": "handbook"})):
            assert numbers(ask(who, tool, **asked, response_format="detailed").to_json()) < 10


def test_case_37_neighbours_of_a_passage_are_checked_one_by_one(ask: Asker) -> None:
    everything: list[Principal] = [EU, US, PUBLIC]
    for who in everything:
        for hit in ask.ok(who, "search", question="boots margin returns", limit=20).data["hits"]:
            read = ask.ok(who, "fetch", ref=hit["ref"], neighbours=5)
            assert read.data["document"] == hit["document"]
