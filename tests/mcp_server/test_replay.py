"""A recorded answer comes out the same again on what it was read from, or says what has changed since."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from indexes.generation import generation_folder
from indexes.ledger import Ledger, Tombstone
from mcp_server.audit_commands import audit
from mcp_server.audit_commands import replay as replay_command
from mcp_server.commands import query
from mcp_server.opening import serving
from mcp_server.refresher import refresh
from mcp_server.replay import Replay, replay
from mcp_server.service import Moment, Service
from mcp_server.session import Caller
from mcp_server.settings import serving_settings
from semantic_layer.audit_settings import AuditSettings
from semantic_layer.errors import InvalidArgument, UnknownName
from semantic_layer.policy import Policy
from semantic_layer.policy_file import policy_to_json
from tests.mcp_server.callers import EU, PUBLIC, Asker
from tests.workspace_factory import BuiltWorkspace, copy_workspace

EU_SQL = replace(EU, scopes=EU.scopes | {"sql"})
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("discover", {"query": "revenue"}),
    ("describe", {"ref": "dp://sales/orders"}),
    ("search", {"question": "how long may shoes be returned", "limit": 3}),
    ("query_metrics", {"metrics": ["revenue"], "dimensions": ["region"]}),
    ("dimension_values", {"dimension": "region"}),
    ("lookup", {"product": "sales", "dataset": "orders", "order": ["order_id"]}),
    ("query_sql", {"sql": "select order_id, now() as at from sales.orders order by 1"}),
    ("query_metrics", {"metrics": ["customers"]}),
]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, model_home: Path) -> BuiltWorkspace:
    """The tiny workspace; sales allows its callers' arguments to be kept."""
    workspace = copy_workspace("tiny", tmp_path_factory.mktemp("replay"), model_home)
    contract = workspace.root / "products/sales/contract.yaml"
    contract.write_text(
        contract.read_text() + "customProperties: [{property: wellhead, value: {audit_arguments: true}}]\n"
    )
    policy = workspace.root / "products/sales/policy.yaml"
    policy.write_text(
        policy.read_text().replace("[discover, search, metric, lookup]", "[discover, search, metric, lookup, sql]")
    )
    workspace.ingest()
    return workspace


@pytest.fixture
def own(sealed: BuiltWorkspace, tmp_path: Path) -> BuiltWorkspace:
    shutil.copytree(sealed.root, tmp_path / "own", symlinks=True)
    return BuiltWorkspace(tmp_path / "own")


@pytest.fixture
def service(own: BuiltWorkspace) -> Iterator[Service]:
    with serving(serving_settings(own.door), {}) as opened:
        yield opened


def again(service: Service, tool: str, asked: dict[str, Any]) -> Replay:
    audit_id = Asker(service)(EU_SQL, tool, **asked).receipt.audit_id
    return replay(service, audit_id, asked)


@pytest.mark.parametrize(("tool", "asked"), CALLS, ids=lambda one: one if isinstance(one, str) else "")
def test_an_answer_comes_out_the_same_again(service: Service, tool: str, asked: dict[str, Any]) -> None:
    assert again(service, tool, asked).outcome == "same"


def test_also_after_newer_editions(own: BuiltWorkspace, service: Service) -> None:
    asked = {"question": "how long may shoes be returned", "limit": 1}
    audit_id = Asker(service).ok(EU_SQL, "search", **asked).receipt.audit_id
    page = own.root / "products/handbook/data/returns.md"
    page.write_text(page.read_text().replace("30 days", "90 days"))
    own.ingest("handbook")
    refresh(service.library)
    assert "90 days" in str(Asker(service).ok(EU_SQL, "search", **asked).data)
    assert replay(service, audit_id, asked).outcome == "same"


def test_a_page_further_on_is_replayed_though_its_cursor_has_expired(service: Service) -> None:
    then = datetime.now(UTC) - timedelta(hours=3)
    earlier = replace(service, cursors=service.cursors.at(then.timestamp()))
    caller, tool = Caller(EU_SQL, "cli"), service.tools["discover"]
    with service.library.pin() as snapshot:
        first = earlier.answer(caller, tool, {"limit": 2}, moment=Moment(snapshot, then))
        assert first.page is not None
        asked = {"limit": 2, "cursor": first.page.next_cursor}
        second = earlier.answer(caller, tool, asked, moment=Moment(snapshot, then))
    assert service.answer(caller, tool, asked).status == "failed"
    assert replay(service, second.receipt.audit_id, asked).outcome == "same"


def test_kept_arguments_need_not_be_given_and_others_are_not_taken(service: Service) -> None:
    ask = Asker(service)
    kept = ask.ok(EU_SQL, "query_metrics", metrics=["revenue"]).receipt.audit_id
    assert replay(service, kept).outcome == "same"
    with pytest.raises(InvalidArgument, match="digest"):
        replay(service, kept, {"metrics": ["customers"]})
    digest_only = ask.ok(PUBLIC, "search", question="boots").receipt.audit_id
    with pytest.raises(InvalidArgument, match="only a digest"):
        replay(service, digest_only)
    assert "question" not in str(service.audit.find(digest_only))


def test_rights_of_today_decide_and_the_reason_is_named(own: BuiltWorkspace, service: Service) -> None:
    audit_id = Asker(service).ok(EU_SQL, "query_metrics", metrics=["revenue"]).receipt.audit_id
    Ledger(own.home).publish_policies({"sales": policy_to_json(Policy("sales"))}, by="test")
    found = replay(service, audit_id)
    assert found.outcome == "differs"
    assert "policy revision" in found.reasons[0]


def test_an_erased_answer_says_erased(own: BuiltWorkspace, service: Service) -> None:
    audit_id = Asker(service).ok(EU_SQL, "lookup", product="sales", dataset="orders").receipt.audit_id
    Ledger(own.home).bury(Tombstone("sales", "orders", "email", ("carl@example.com",)), by="test")
    assert replay(service, audit_id).outcome == "erased"


def test_a_generation_that_is_gone_is_said_to_be(own: BuiltWorkspace, service: Service) -> None:
    answer = Asker(service).ok(EU_SQL, "query_metrics", metrics=["revenue"])
    page = own.root / "products/sales/data/orders.csv"
    page.write_text(page.read_text() + "99,EU,z@example.com,2025-05-05,0.00,\n")
    own.ingest("sales")
    refresh(service.library)
    shutil.rmtree(generation_folder(own.home, "sales", answer.receipt.generations["sales"]))
    assert replay(service, answer.receipt.audit_id).outcome == "gone"


def test_what_tells_of_its_own_moment_is_not_replayed(service: Service) -> None:
    audit_id = Asker(service).ok(EU_SQL, "status").receipt.audit_id
    with pytest.raises(InvalidArgument, match="moment"):
        replay(service, audit_id)
    with pytest.raises(UnknownName):
        replay(service, "a-20200101T000000-000000000000")


def test_the_record_says_who_under_which_rules_on_what_and_when(service: Service) -> None:
    answer = Asker(service).ok(EU_SQL, "query_metrics", metrics=["revenue"])
    record = service.audit.find(answer.receipt.audit_id)
    assert record["who"]["roles"] == ["analyst"]
    assert record["grants"] == {"sales": "allowed by analysts-see-their-regions"}
    assert record["arguments"] == {"metrics": ["revenue"]}
    assert record["clock"]
    assert record["generations"] == answer.receipt.generations


def test_the_commands_verify_and_replay(own: BuiltWorkspace) -> None:
    with serving(serving_settings(own.door), {}) as service:
        audit_id = Asker(service).ok(EU_SQL, "query_metrics", metrics=["revenue"]).receipt.audit_id
    shown = CliRunner().invoke(replay_command, [audit_id], obj=own.door)
    assert (shown.exit_code, shown.output.split(":")[0]) == (0, "same"), shown.output
    assert CliRunner().invoke(audit, ["verify"], obj=own.door).exit_code == 0
    segment = next((own.home / "audit").glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes().replace(b'"query_metrics"', b'"search"', 1))
    broken = CliRunner().invoke(audit, ["verify", "--json"], obj=own.door)
    assert broken.exit_code == 7
    assert json.loads(broken.output)["bad"][0]["line"] == 2
    named = CliRunner().invoke(audit, ["verify"], obj=own.door)
    assert f"{segment.name}:2" in str(named.exception)


def test_the_clock_of_a_question_is_an_argument_and_replayed(own: BuiltWorkspace) -> None:
    def asked(*arguments: str) -> Any:
        shown = CliRunner().invoke(query, ["revenue", "--json", *arguments], obj=own.door)
        assert shown.exit_code == 0, shown.output
        return json.loads(shown.output)

    now, later = asked(), asked("--as-of", "2099-01-01T12:00:00")
    assert [one["receipt"]["sources"][0]["freshness"] for one in (now, later)] == ["fresh", "stale"]
    assert now["data"] == later["data"]
    with serving(serving_settings(own.door), {}) as service:
        audit_id = later["receipt"]["audit_id"]
        assert service.audit.find(audit_id)["clock"] == "2099-01-01T12:00:00+00:00"
        assert replay(service, audit_id).outcome == "same"


def test_a_workspace_may_choose_to_answer_unrecorded_and_the_receipt_says_so(own: BuiltWorkspace) -> None:
    settings = replace(serving_settings(own.door), audit=AuditSettings(on_failure="serve"))
    shutil.rmtree(own.home / "audit", ignore_errors=True)
    (own.home / "audit").write_text("in the way")
    with serving(settings, {}) as service:
        answer = Asker(service).ok(EU_SQL, "query_metrics", metrics=["revenue"])
    assert "audit" in answer.receipt.not_checked
