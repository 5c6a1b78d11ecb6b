"""SQL over the tools' doors: a scope of its own, the policy's rows and masks, refusals by name, an honest receipt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from mcp_server.commands import sql
from mcp_server.opening import serving
from mcp_server.service import Service
from mcp_server.settings import serving_settings
from tests.mcp_server.callers import EU, US, Asker
from tests.mcp_server.running import running_server
from tests.workspace_factory import BuiltWorkspace

EU_SQL = replace(EU, scopes=EU.scopes | {"sql"})
US_SQL = replace(US, scopes=US.scopes | {"sql"})
BY_REGION = "select region, count(*) as n from sales.orders group by region"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, model_home: Path) -> BuiltWorkspace:
    """The tiny workspace whose analysts may use SQL on sales."""
    from tests.workspace_factory import copy_workspace

    workspace = copy_workspace("tiny", tmp_path_factory.mktemp("sql"), model_home)
    policy = workspace.root / "products/sales/policy.yaml"
    policy.write_text(
        policy.read_text().replace("[discover, search, metric, lookup]", "[discover, search, metric, lookup, sql]")
    )
    contract = workspace.root / "products/sales/contract.yaml"
    contract.write_text(
        contract.read_text() + "customProperties: [{property: wellhead, value: {audit_arguments: true}}]\n"
    )
    workspace.ingest()
    return workspace


@pytest.fixture(scope="module")
def service(opened: BuiltWorkspace) -> Iterator[Service]:
    with serving(serving_settings(opened.door), {}) as held:
        yield held


@pytest.fixture
def ask(service: Service) -> Asker:
    return Asker(service)


def test_each_caller_sees_its_own_rows(ask: Asker) -> None:
    assert [row["region"] for row in ask.ok(EU_SQL, "query_sql", sql=BY_REGION).data["rows"]] == ["EU"]
    assert [row["region"] for row in ask.ok(US_SQL, "query_sql", sql=BY_REGION).data["rows"]] == ["US"]


def test_a_masked_column_is_the_same_as_in_lookup(ask: Asker) -> None:
    looked = ask.ok(EU_SQL, "lookup", product="sales", dataset="orders", key=1, columns=["email"]).data["rows"]
    found = ask.ok(EU_SQL, "query_sql", sql="select email from sales.orders where order_id = 1")
    assert found.data["rows"] == looked
    assert found.receipt.policy.masked == ("email",)
    assert "@" not in json.dumps(found.to_json())


def test_the_receipt_names_generation_lineage_and_limits(ask: Asker) -> None:
    receipt = ask.ok(EU_SQL, "query_sql", sql=BY_REGION).receipt
    assert set(receipt.generations) == {"sales"}
    assert receipt.lineage == ("dp://sales/orders",)
    assert receipt.policy.rows_limited
    assert receipt.cost.rows == 1


def test_a_caller_without_the_scope_has_no_such_tool(ask: Asker, service: Service) -> None:
    answer = ask(EU, "query_sql", sql="select 1")
    unknown = ask(EU, "query_sqk", sql="select 1")
    assert answer.error is not None
    assert unknown.error is not None
    assert str(answer.error).replace("query_sql", "X") == str(unknown.error).replace("query_sqk", "X")
    assert "query_sql" not in [tool.name for tool in service.tools_of(EU)]
    assert "query_sql" in [tool.name for tool in service.tools_of(EU_SQL)]


def test_a_product_that_does_not_grant_sql_is_refused_and_a_hidden_one_is_unknown(ask: Asker) -> None:
    refused = ask(EU_SQL, "query_sql", sql="select * from handbook.pages")
    assert refused.status == "refused"
    nobody = replace(EU_SQL, roles=frozenset({"nobody"}))
    hidden = ask(nobody, "query_sql", sql="select * from sales.orders").error
    absent = ask(nobody, "query_sql", sql="select * from sulfs.orders").error
    assert str(hidden).replace("sales", "X") == str(absent).replace("sulfs", "X")


def test_a_refusal_names_its_rule(ask: Asker) -> None:
    answer = ask(EU_SQL, "query_sql", sql="copy sales.orders to '/tmp/x'")
    assert answer.data["error"]["rule"] == "sql_allow_list"


def test_more_rows_than_the_limit_are_said_to_exist(ask: Asker) -> None:
    answer = ask.ok(EU_SQL, "query_sql", sql="select order_id from sales.orders", limit=1)
    assert len(answer.data["rows"]) == 1
    assert any("more rows" in note for note in answer.receipt.notes)


def test_the_command_line_asks_the_same_tool(opened: BuiltWorkspace) -> None:
    form = json.dumps({"roles": ["analyst"], "attributes": {"regions": ["EU"]}, "scopes": ["read", "sql"]})
    done = CliRunner().invoke(sql, [BY_REGION, "--as", form], obj=opened.door)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0].split() == ["region", "n"]
    without = CliRunner().invoke(sql, [BY_REGION], obj=opened.door)
    assert "scope" in str(without.exception)


def test_the_rest_twin_gives_the_same_rows_and_404_without_the_scope(opened: BuiltWorkspace) -> None:
    with running_server(opened) as running:

        def post(token: str) -> httpx2.Response:
            headers = {"Authorization": f"Bearer {token}"}
            return httpx2.post(f"{running.origin}/api/tools/query_sql", json={"sql": BY_REGION}, headers=headers)

        allowed, without = post(running.token(EU_SQL)), post(running.token(EU))
    assert allowed.json()["data"]["rows"][0]["region"] == "EU"
    assert without.status_code == 404


def test_a_product_says_that_sql_may_be_used_only_to_callers_with_the_scope(ask: Asker) -> None:
    assert "sql" in ask.ok(EU_SQL, "describe", ref="sales").data["you_may"]
    assert "sql" not in ask.ok(EU, "describe", ref="sales").data["you_may"]


def test_a_concise_reply_holds_what_fits_and_says_that_more_exists(ask: Asker) -> None:
    many = (
        "select a.remark, b.remark, c.order_id from sales.orders a, sales.orders b, sales.orders c, sales.orders d"
    )
    concise = ask.ok(EU_SQL, "query_sql", sql=many, limit=1_000)
    detailed = ask.ok(EU_SQL, "query_sql", sql=many, limit=1_000, response_format="detailed")
    assert len(concise.data["rows"]) < len(detailed.data["rows"])
    assert any("more rows" in note for note in concise.receipt.notes)
