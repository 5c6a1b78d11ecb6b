"""The commands that ask and serve, as a person types them."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result

from mcp_server.commands import (
    client_config,
    describe,
    discover,
    host_and_port,
    lookup,
    query,
    search,
    token,
    trace,
)
from semantic_layer.errors import InvalidArgument, WellheadError
from semantic_layer.principal_form import principal_of_form
from tests.workspace_factory import BuiltWorkspace

US = '{"roles": ["analyst"], "attributes": {"regions": ["US"]}}'


@pytest.fixture
def run(tiny: BuiltWorkspace) -> Any:
    def invoke(command: Any, *arguments: str) -> Result:
        return CliRunner().invoke(command, list(arguments), obj=tiny.door)

    return invoke


def shown(result: Result) -> Any:
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.output)


def test_search_asks_as_the_configured_principal(run: Any) -> None:
    result = run(search, "target margin for boots", "--limit", "3")
    assert result.exit_code == 0, result.output
    assert "eu-margins.md" in result.output
    assert "us-margins.md" not in result.output
    assert "receipt a-" in result.output
    assert "<data-" not in result.output


def test_search_as_another_principal_sees_that_ones_rows(run: Any) -> None:
    documents = {
        hit["document"] for hit in shown(run(search, "target margin", "--as", US, "--json"))["data"]["hits"]
    }
    assert "us-margins.md" in documents
    assert "eu-margins.md" not in documents


def test_query_prints_a_table_and_its_receipt(run: Any) -> None:
    result = run(query, "revenue", "--by", "region")
    assert result.output.splitlines()[:2] == ["region  revenue", "EU       140.75"]
    assert "sales@" in result.output


def test_query_takes_time_filter_and_order(run: Any) -> None:
    where = '{"field": "region", "op": "eq", "value": "EU"}'
    time = ("--grain", "month", "--start", "2025-02-01", "--end", "2025-04-01")
    rows = shown(run(query, "revenue", *time, "--where", where, "--order", "-revenue", "--json"))["data"]["rows"]
    assert [row["revenue"] for row in rows] == [80, 50.25]


def test_lookup_finds_a_record_by_key(run: Any) -> None:
    (row,) = shown(run(lookup, "sales", "orders", "2", "--column", "amount", "--json"))["data"]["rows"]
    assert row == {"amount": 20}


def test_discover_and_describe_name_what_there_is(run: Any) -> None:
    assert "metric://sales/revenue" in run(discover, "turnover").output
    assert "Sales Operations" in run(describe, "metric://sales/revenue").output


def test_an_answer_is_traced_by_its_receipt(run: Any) -> None:
    audit_id = shown(run(query, "revenue", "--json"))["receipt"]["audit_id"]
    assert shown(run(trace, audit_id, "--json"))["data"]["tool"] == "query_metrics"


def test_a_refusal_ends_with_its_exit_code_and_prints_json_when_asked(run: Any) -> None:
    plain = run(query, "customers")
    assert isinstance(plain.exception, WellheadError)
    assert plain.exception.exit_code == 4
    as_json = run(query, "customers", "--json")
    assert as_json.exit_code == 4
    assert json.loads(as_json.output)["status"] == "refused"


def test_a_token_carries_roles_and_attributes_for_the_servers_own_address(run: Any) -> None:
    issued = run(
        token, "--subject", "alice", "--role", "analyst", "--attributes", '{"regions": ["EU"]}'
    ).output.strip()
    claims = jwt.decode(issued, options={"verify_signature": False})
    assert claims["sub"] == "alice"
    assert claims["aud"] == "http://127.0.0.1:8420/mcp"
    assert claims["attributes"] == {"regions": ["EU"]}
    assert claims["scope"] == "read"


@pytest.mark.parametrize("client", ["claude-code", "claude-desktop", "cursor", "vscode"])
def test_every_client_gets_its_configuration(run: Any, tiny: BuiltWorkspace, client: str) -> None:
    told = shown(run(client_config, client, "--json"))
    assert str(tiny.root) in told["text"]
    if client != "claude-code":
        json.loads(told["text"])


@pytest.mark.parametrize("client", ["claude-code", "cursor", "vscode"])
def test_a_client_of_the_http_server_gets_its_address_and_no_secret(run: Any, client: str) -> None:
    told = shown(run(client_config, client, "--http", "--json"))
    assert "http://127.0.0.1:8420/mcp" in told["text"]
    assert "eyJ" not in told["text"]


def test_claude_desktop_over_http_says_what_works_instead(run: Any) -> None:
    assert "connector" in str(run(client_config, "claude-desktop", "--http").exception)


@pytest.mark.parametrize("form", ["nonsense:", "[]", '{"role": ["a"]}', '{"roles": "a b"', '{"attributes": []}'])
def test_a_principal_that_cannot_be_read_is_one_error(form: str) -> None:
    with pytest.raises(InvalidArgument, match="--as"):
        principal_of_form(form)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("0.0.0.0:9000", ("0.0.0.0", 9000)),
        (":9000", ("h", 9000)),
        ("example", ("example", 1)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_an_address_is_read_in_its_short_forms(address: str, parts: tuple[str, int]) -> None:
    assert host_and_port(address, "h", 1) == parts


@pytest.mark.parametrize("address", ["host:port", "host:99999"])
def test_an_address_without_a_port_number_is_an_error(address: str) -> None:
    with pytest.raises(InvalidArgument):
        host_and_port(address, "h", 1)
