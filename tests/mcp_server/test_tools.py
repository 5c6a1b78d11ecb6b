"""What three callers are told by the tools: each its own rows, with receipts, and nothing of what is hidden."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mcp_server.answer import Answer
from mcp_server.receipt import freshness_of
from semantic_layer.principal import Principal
from semantic_layer.product import ServiceLevel
from tests.mcp_server.callers import EU, NOWHERE, OPERATOR, PUBLIC, US, Asker


def everything(answer: Answer) -> str:
    """All that leaves with an answer."""
    return json.dumps(answer.to_json(fenced=True)) + answer.to_text()


def without_names(answer: Answer) -> str:
    """What an error says, with the names that were asked for taken out."""
    return re.sub(r"sales|sulfs|revenue|revenoo", "NAME", json.dumps(answer.data))


def rows(answer: Answer) -> list[dict[str, Any]]:
    return answer.data["rows"]


# -- discover and describe ---------------------------------------------------------------------------------


def test_the_public_discovers_the_handbook_and_no_sales(ask: Asker) -> None:
    found = ask.ok(PUBLIC, "discover")
    assert {item["product"] for item in found.data["results"]} == {"handbook"}
    assert "sales" not in everything(found)


def test_an_analyst_finds_a_metric_by_its_synonym(ask: Asker) -> None:
    best = ask.ok(EU, "discover", query="turnover").data["results"][0]
    assert best["ref"] == "metric://sales/revenue"
    assert best["certified"] is True


def test_a_metric_is_described_with_owner_certification_and_dimensions(ask: Asker) -> None:
    metric = ask.ok(EU, "describe", ref="metric://sales/revenue").data
    assert metric["owner"] == "Sales Operations"
    assert metric["certification"] == "certified"
    names = [dimension["name"] for dimension in metric["dimensions"]]
    assert "orders__region" in names
    assert not any("email" in name for name in names)


def test_a_dataset_is_described_with_its_masked_column_marked(ask: Asker) -> None:
    columns = {one["name"]: one for one in ask.ok(EU, "describe", ref="dp://sales/orders").data["columns"]}
    assert columns["email"]["masked"] is True
    assert "masked" not in columns["region"]


def test_a_product_says_what_the_caller_may_do_with_it(ask: Asker) -> None:
    assert ask.ok(EU, "describe", ref="sales").data["you_may"] == ["search", "metric", "lookup"]
    assert ask.ok(PUBLIC, "describe", ref="handbook").data["you_may"] == ["search", "lookup"]


def test_pages_of_discover_together_are_the_whole_list(ask: Asker) -> None:
    whole = [item["ref"] for item in ask.ok(EU, "discover", limit=50).data["results"]]
    pages: list[str] = []
    cursor = None
    while True:
        answer = ask.ok(EU, "discover", limit=2, **({"cursor": cursor} if cursor else {}))
        pages += [item["ref"] for item in answer.data["results"]]
        cursor = answer.page.next_cursor if answer.page else ""
        if not cursor:
            break
    assert pages == whole


# -- what does not exist for a caller ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "hidden", "absent"),
    [
        ("describe", {"ref": "dp://sales"}, {"ref": "dp://sulfs"}),
        ("describe", {"ref": "metric://sales/revenue"}, {"ref": "metric://sales/revenoo"}),
        ("search", {"question": "x", "products": ["sales"]}, {"question": "x", "products": ["sulfs"]}),
        ("lookup", {"product": "sales", "dataset": "orders"}, {"product": "sulfs", "dataset": "orders"}),
        ("query_metrics", {"metrics": ["revenue"]}, {"metrics": ["revenoo"]}),
        ("status", {"product": "sales"}, {"product": "sulfs"}),
        (
            "dimension_values",
            {"dimension": "sales.region"},
            {"dimension": "sulfs.region"},
        ),
        ("fetch", {"ref": "doc://sales/0123456789abcdef"}, {"ref": "doc://sulfs/0123456789abcdef"}),
    ],
)
def test_a_hidden_name_reads_exactly_like_an_absent_one(
    ask: Asker, tool: str, hidden: dict[str, Any], absent: dict[str, Any]
) -> None:
    first, second = ask(PUBLIC, tool, **hidden), ask(PUBLIC, tool, **absent)
    assert first.error is not None
    assert first.error.code == "unknown_name"
    said = json.dumps(first.data).replace("sales", "NAME").replace("revenue", "NAME")
    assert said == json.dumps(second.data).replace("sulfs", "NAME").replace("revenoo", "NAME").replace(
        "sales", "NAME"
    )


def test_an_operator_tool_reads_like_an_unknown_tool_without_the_scope(ask: Asker) -> None:
    first, second = ask(EU, "ingest"), ask(EU, "inject")
    assert json.dumps(first.data).replace("ingest", "X") == json.dumps(second.data).replace("inject", "X")


def test_suggestions_name_only_what_the_caller_may_discover(ask: Asker) -> None:
    assert "sales" in str(ask(EU, "describe", ref="salez").error)
    assert "sales" not in str(ask(PUBLIC, "describe", ref="salez").error)


# -- search and fetch --------------------------------------------------------------------------------------


def test_search_cites_the_page_that_answers(ask: Asker) -> None:
    hit = ask.ok(PUBLIC, "search", question="How long may shoes be returned?").data["hits"][0]
    assert hit["document"] == "returns.md"
    assert "30 days" in hit["text"]
    assert hit["ref"].startswith("doc://handbook/")


def test_an_analyst_never_finds_a_page_of_another_region(ask: Asker) -> None:
    for principal, own, foreign in ((EU, "QUARTZEU", "CANARYUS"), (US, "CANARYUS", "QUARTZEU")):
        answer = ask.ok(principal, "search", question="target margin for boots code word", limit=20)
        assert own in everything(answer)
        assert foreign not in everything(answer)
    assert (
        "margin"
        not in everything(ask.ok(PUBLIC, "search", question="target margin for boots")).split("receipt")[0]
    )


def test_a_row_of_another_region_is_found_by_nobody_else(ask: Asker) -> None:
    for principal in (EU, US, PUBLIC):
        assert "CANARYAPAC" not in everything(ask.ok(principal, "search", question="teal CANARYAPAC", limit=50))


def test_the_citation_of_a_hidden_passage_reads_like_an_unknown_one(ask: Asker) -> None:
    hit = ask.ok(US, "search", question="target margin for boots", limit=1).data["hits"][0]
    assert "CANARYUS" in hit["text"]
    hidden = ask(EU, "fetch", ref=hit["ref"])
    absent = ask(EU, "fetch", ref="doc://handbook/0000000000000000")
    passage = hit["ref"].rpartition("/")[2]
    assert json.dumps(hidden.data).replace(passage, "X") == json.dumps(absent.data).replace("0" * 16, "X")


def test_fetch_gives_the_exact_text_that_the_citation_names(ask: Asker) -> None:
    hit = ask.ok(PUBLIC, "search", question="refund paid to the card", limit=1).data["hits"][0]
    passages = ask.ok(PUBLIC, "fetch", ref=hit["ref"]).data["passages"]
    own = next(one for one in passages if one["ref"] == hit["ref"])
    assert own["sha256"] == hit["sha256"]
    assert len(own["text"]) == own["end"] - own["start"]


def test_a_whole_document_is_read_by_its_own_reference(ask: Asker) -> None:
    hit = ask.ok(PUBLIC, "search", question="shoes returned", limit=1).data["hits"][0]
    whole = ask.ok(PUBLIC, "fetch", ref=ask.ok(PUBLIC, "fetch", ref=hit["ref"]).data["document_ref"])
    assert "five working days" in whole.to_text()
    assert whole.page is not None
    assert not whole.page.next_cursor


def test_what_a_document_commands_comes_back_as_fenced_data(ask: Asker) -> None:
    answer = ask.ok(PUBLIC, "search", question="letter from a customer, parcel late", limit=1)
    sent = answer.to_json(fenced=True)
    marker = answer.fence.marker
    assert sent["data"]["hits"][0]["text"].startswith(f"<data-{marker}>")
    assert marker in sent["data"]["untrusted"]
    assert f"<data-{marker}>" in answer.to_text()


def test_a_filter_narrows_the_search(ask: Asker) -> None:
    answer = ask.ok(
        EU, "search", question="margin", filters={"field": "audience", "op": "eq", "value": "internal"}
    )
    assert {hit["document"] for hit in answer.data["hits"]} == {"eu-margins.md"}


def test_pages_of_search_repeat_no_hit(ask: Asker) -> None:
    first = ask.ok(EU, "search", question="boots", limit=1)
    assert first.page is not None
    second = ask.ok(EU, "search", question="boots", limit=1, cursor=first.page.next_cursor)
    assert first.data["hits"][0]["ref"] != second.data["hits"][0]["ref"]


def test_a_cursor_of_another_caller_is_refused(ask: Asker) -> None:
    first = ask.ok(EU, "search", question="boots", limit=1)
    assert first.page is not None
    stolen = ask(US, "search", question="boots", limit=1, cursor=first.page.next_cursor)
    assert stolen.error is not None
    assert "does not belong" in stolen.error.message


# -- metrics -----------------------------------------------------------------------------------------------


def test_each_analyst_gets_the_revenue_of_their_own_region(ask: Asker) -> None:
    assert rows(ask.ok(EU, "query_metrics", metrics=["revenue"])) == [{"revenue": 140.75}]
    assert rows(ask.ok(US, "query_metrics", metrics=["revenue"])) == [{"revenue": 150.75}]


def test_a_metric_is_grouped_by_dimension_and_month(ask: Asker) -> None:
    by_month = ask.ok(EU, "query_metrics", metrics=["revenue"], time={"grain": "month"})
    assert [row["revenue"] for row in rows(by_month)] == [10.5, 50.25, 80]
    by_region = ask.ok(US, "query_metrics", metrics=["revenue", "order_count"], dimensions=["region"])
    assert rows(by_region) == [{"region": "US", "revenue": 150.75, "order_count": 3}]


def test_a_metric_answer_carries_its_sql_owner_and_certification(ask: Asker) -> None:
    receipt = ask.ok(EU, "query_metrics", metrics=["revenue"]).receipt
    assert "SUM" in receipt.sql.upper()
    assert receipt.certification == {"revenue": "certified"}
    assert [source.owner for source in receipt.sources] == ["Sam Hill <sam>"]
    assert receipt.policy.rows_limited


def test_a_metric_over_a_masked_column_is_refused_with_the_rule(ask: Asker) -> None:
    answer = ask(EU, "query_metrics", metrics=["customers"])
    assert answer.status == "refused"
    assert answer.data["error"]["rule"]


def test_grouping_by_a_masked_column_tells_nothing(ask: Asker) -> None:
    answer = ask(EU, "query_metrics", metrics=["revenue"], dimensions=["email"])
    assert answer.error is not None
    assert "@example.com" not in everything(answer)


def test_dimension_values_are_those_of_the_callers_rows(ask: Asker) -> None:
    values = ask.ok(EU, "dimension_values", dimension="region").data["values"]
    assert values == ["EU"]


# -- lookup ------------------------------------------------------------------------------------------------


def test_a_record_is_looked_up_by_key_with_its_address_masked(ask: Asker) -> None:
    answer = ask.ok(EU, "lookup", product="sales", dataset="orders", key=1)
    (row,) = rows(answer)
    assert row["amount"] == 10.5
    assert row["email"] != "anna@example.com"
    assert answer.receipt.policy.masked == ("email",)
    assert "@example.com" not in everything(answer)


def test_a_record_of_another_region_is_not_there(ask: Asker) -> None:
    assert rows(ask.ok(EU, "lookup", product="sales", dataset="orders", key=4)) == []


def test_a_masked_column_cannot_be_searched_for_its_values(ask: Asker) -> None:
    guess = {"field": "email", "op": "eq", "value": "anna@example.com"}
    assert ask(EU, "lookup", product="sales", dataset="orders", filters=guess).status == "refused"


def test_a_caller_without_the_attribute_that_a_rule_needs_sees_nothing(ask: Asker) -> None:
    answer = ask(NOWHERE, "lookup", product="sales", dataset="orders")
    assert answer.error is not None
    assert answer.error.code == "unknown_name"


def test_lookup_pages_in_the_order_asked(ask: Asker) -> None:
    first = ask.ok(EU, "lookup", product="sales", dataset="orders", order=["-order_id"], limit=3)
    assert first.page is not None
    second = ask.ok(
        EU,
        "lookup",
        product="sales",
        dataset="orders",
        order=["-order_id"],
        limit=3,
        cursor=first.page.next_cursor,
    )
    assert [row["order_id"] for row in (*rows(first), *rows(second))] == [8, 3, 2, 1]
    assert second.page is not None
    assert not second.page.next_cursor


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"filters": {"field": "regoin", "op": "eq", "value": "EU"}}, "region"),
        ({"filters": {"field": "region", "op": "equals", "value": "EU"}}, "eq"),
        ({"filters": {"field": "order_id", "op": "eq", "value": "one"}}, "order_id"),
        ({"columns": ["amuont"]}, "amount"),
        ({"order": ["-nothing"]}, "nothing"),
        ({"limit": 101}, "100"),
        ({"lmiit": 5}, "limit"),
        ({"tenant_id": "EU"}, "tenant_id"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(ask: Asker, arguments: dict[str, Any], said: str) -> None:
    answer = ask(EU, "lookup", product="sales", dataset="orders", **arguments)
    assert answer.status == "failed"
    assert said in str(answer.error)
    assert "\n" not in str(answer.error)


# -- receipts, trace, feedback, status ---------------------------------------------------------------------


def test_every_receipt_names_edition_generation_policy_and_what_was_not_checked(ask: Asker) -> None:
    receipt = ask.ok(EU, "search", question="returns").to_json()["receipt"]
    assert receipt["edition"] >= 1
    assert all(source["generation"] for source in receipt["sources"])
    assert receipt["policy"]["revision"] >= 1
    assert "freshness" in receipt["not_checked"]
    assert receipt["cost"]["ms"] > 0


def test_freshness_is_measured_against_the_promise() -> None:
    now = datetime(2025, 6, 1, tzinfo=UTC)
    day = ServiceLevel("latency", 1, "d")
    assert freshness_of((now - timedelta(hours=23)).isoformat(), day, now) == "fresh"
    assert freshness_of((now - timedelta(hours=25)).isoformat(), day, now) == "stale"
    assert freshness_of("", day, now) == "unknown"
    assert freshness_of("2025-06-01", None, now) == "unknown"
    assert freshness_of("2025-06-01", ServiceLevel("latency", 1, "fortnight"), now) == "unknown"


def test_the_latency_promise_of_a_product_is_kept_or_not(ask: Asker) -> None:
    (source,) = ask.ok(EU, "query_metrics", metrics=["revenue"]).receipt.sources
    assert source.freshness == "fresh"
    assert source.sla == "latency 50 y"


def test_an_answer_can_be_traced_to_its_inputs_by_who_got_it_and_nobody_else(ask: Asker) -> None:
    audit_id = ask.ok(OPERATOR, "status").receipt.audit_id
    traced = ask.ok(OPERATOR, "trace", audit_id=audit_id).data
    assert traced["tool"] == "status"
    stranger = ask(EU, "trace", audit_id=audit_id)
    absent = ask(EU, "trace", audit_id="a-20200101T000000-000000000000")
    assert json.dumps(stranger.data).replace(audit_id, "X") == json.dumps(absent.data).replace(
        "a-20200101T000000-000000000000", "X"
    )


def test_a_trace_shows_source_files_only_to_who_sees_every_row(ask: Asker) -> None:
    for principal, shown in ((OPERATOR, True), (EU, False)):
        audit_id = ask.ok(principal, "describe", ref="handbook").receipt.audit_id
        (source,) = ask.ok(principal, "trace", audit_id=audit_id).data["sources"]
        assert ("inputs" in source) is shown
        assert source["recipe"]


def test_feedback_stands_beside_the_answer_it_is_about(ask: Asker) -> None:
    audit_id = ask.ok(EU, "search", question="returns").receipt.audit_id
    ask.ok(EU, "feedback", audit_id=audit_id, label="wrong", note="it is 14 days")
    assert ask.ok(EU, "trace", audit_id=audit_id).data["feedback"][0]["note"] == "it is 14 days"


def test_refused_calls_are_recorded_too(ask: Asker) -> None:
    refused = ask(EU, "query_metrics", metrics=["customers"])
    traced = ask.ok(EU, "trace", audit_id=refused.receipt.audit_id).data
    assert (traced["status"], traced["code"]) == ("refused", "refused")


def test_the_same_question_gives_the_same_digest(ask: Asker) -> None:
    digests = {ask.ok(EU, "search", question="boots").digest for _ in range(3)}
    assert len(digests) == 1


def test_status_shows_what_is_live_for_the_caller(ask: Asker) -> None:
    assert [one["product"] for one in ask.ok(EU, "status").data["products"]] == ["handbook", "sales"]
    assert [one["product"] for one in ask.ok(PUBLIC, "status").data["products"]] == ["handbook"]


def test_replies_stay_small(ask: Asker) -> None:
    for tool, arguments in (
        ("discover", {}),
        ("describe", {"ref": "sales"}),
        ("search", {"question": "boots margin returns", "limit": 50}),
        ("lookup", {"product": "sales", "dataset": "orders", "limit": 100}),
    ):
        assert len(ask.ok(EU, tool, **arguments).to_text()) <= 8_000


# -- operators ---------------------------------------------------------------------------------------------


def test_an_operator_gets_a_job_and_its_handle(ask: Asker) -> None:
    job = ask.ok(OPERATOR, "ingest", products=["sales"]).data["job"]
    assert job["state"] == "queued"
    assert ask.ok(OPERATOR, "status", job=job["job"]).data["job"]["kind"] == "ingest"
    assert ask(EU, "status", job=job["job"]).error is not None
    assert ask.ok(OPERATOR, "release", action="cancel", job=job["job"]).data["job"]["state"] == "cancelled"


def test_the_scope_alone_does_not_operate_a_product_whose_policy_says_otherwise(ask: Asker) -> None:
    bold = Principal("bo", frozenset({"analyst"}), {"regions": ("EU",)}, scopes=frozenset({"read", "operate"}))
    answer = ask(bold, "ingest", products=["sales"])
    assert answer.status == "refused"


def test_an_operator_lists_editions_and_generations(ask: Asker) -> None:
    listed = ask.ok(OPERATOR, "release", action="list", product="sales").data
    assert listed["editions"][0]["products"].keys() == {"handbook", "sales"}
    assert listed["generations"]
