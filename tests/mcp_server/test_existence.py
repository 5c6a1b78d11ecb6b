"""What a caller may not discover does not exist for it: through every door, forbidden and unknown read the same.

Each case asks twice, once with a hidden name and once with one that nothing has. The two answers must be equal, byte
for byte, but for the name itself, the audit id and the milliseconds.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import PromptReference, ResourceTemplateReference

from indexes.ledger import Ledger
from indexes.release import rollback
from mcp_server import commands
from mcp_server.opening import serving
from mcp_server.refresher import refresh
from mcp_server.service import Service
from mcp_server.session import Caller
from mcp_server.settings import serving_settings
from semantic_layer.policy import Action, ColumnChoice, Policy, Rule
from semantic_layer.policy_file import policy_to_json
from semantic_layer.predicate import Attribute, In
from semantic_layer.principal import ANONYMOUS, Principal
from tests.mcp_server.callers import EU, OPERATOR, Asker
from tests.mcp_server.running import Running, running_server
from tests.workspace_factory import BuiltWorkspace

ANALYSTS = frozenset({"analyst"})
READS = frozenset({Action.DISCOVER, Action.SEARCH, Action.METRIC, Action.LOOKUP})
SALES = Policy(
    "sales",
    (
        Rule(
            "analysts",
            ANALYSTS,
            READS,
            columns=ColumnChoice(excluded=frozenset({"email"})),
            rows=In("region", (Attribute("regions"),)),
            metrics=frozenset({"revenue", "order_count"}),
        ),
    ),
)
"""Analysts see sales without the column `email` and the metric `customers`; nobody else sees any of it."""


@dataclass(frozen=True)
class Case:
    """A call with `{name}` where the hidden or the unknown name goes."""

    who: Principal
    hidden: str
    unknown: str
    tool: str
    arguments: dict[str, Any]

    def asked(self, name: str) -> dict[str, Any]:
        """The arguments with this name."""
        return json.loads(json.dumps(self.arguments).replace("{name}", name))

    def __str__(self) -> str:
        return f"{self.who.subject}-{self.tool}-{self.hidden}-{json.dumps(self.arguments)[:60]}"


PRODUCTS = [
    ("discover", {"product": "{name}"}),
    ("describe", {"ref": "{name}"}),
    ("describe", {"ref": "dp://{name}"}),
    ("describe", {"ref": "dp://{name}/orders"}),
    ("describe", {"ref": "metric://{name}/revenue"}),
    ("search", {"question": "boots", "products": ["{name}"]}),
    ("search", {"question": "boots", "products": ["handbook", "{name}"]}),
    ("fetch", {"ref": "doc://{name}/orders:1:remark#0"}),
    ("fetch", {"ref": "doc://{name}/orders/1"}),
    ("lookup", {"product": "{name}", "dataset": "orders", "key": 1}),
    ("status", {"product": "{name}"}),
    ("query_metrics", {"metrics": ["{name}.revenue"]}),
    ("dimension_values", {"dimension": "{name}.orders.region"}),
    ("trace", {"ref": "dp://{name}"}),
]
METRICS = [
    ("describe", {"ref": "{name}"}),
    ("query_metrics", {"metrics": ["{name}"]}),
    ("query_metrics", {"metrics": ["revenue", "{name}"]}),
    ("query_metrics", {"metrics": ["sales.{name}"]}),
    ("query_metrics", {"metrics": ["revenue"], "order": ["{name}"]}),
    ("describe", {"ref": "metric://sales/{name}"}),
]
COLUMNS = [
    ("lookup", {"product": "sales", "dataset": "orders", "columns": ["{name}"]}),
    ("lookup", {"product": "sales", "dataset": "orders", "order": ["{name}"]}),
    ("lookup", {"product": "sales", "dataset": "orders", "key": {"{name}": "x"}}),
    (
        "lookup",
        {"product": "sales", "dataset": "orders", "filters": {"field": "{name}", "op": "eq", "value": "x"}},
    ),
    (
        "lookup",
        {"product": "sales", "dataset": "orders", "filters": {"field": "{name}", "op": "is_null", "value": True}},
    ),
    ("search", {"question": "boots", "products": ["sales"], "filters": {"field": "{name}", "value": "x"}}),
    ("query_metrics", {"metrics": ["revenue"], "dimensions": ["{name}"]}),
    ("query_metrics", {"metrics": ["revenue"], "dimensions": ["orders__{name}"]}),
    ("query_metrics", {"metrics": ["revenue"], "filters": {"field": "{name}", "op": "eq", "value": "x"}}),
    ("dimension_values", {"dimension": "{name}"}),
    ("describe", {"ref": "dp://sales/orders/{name}"}),
    ("describe", {"ref": "{name}"}),
]
DATASETS = [
    ("lookup", {"product": "handbook", "dataset": "{name}"}),
    ("describe", {"ref": "dp://handbook/{name}"}),
]
CASES = [
    *(Case(ANONYMOUS, "sales", "tales", *one) for one in PRODUCTS),
    *(Case(ANONYMOUS, "revenue", "revenge", *one) for one in METRICS if "revenue" not in str(one)),
    *(Case(ANONYMOUS, "orders", "orderz", *one) for one in DATASETS),
    *(Case(EU, "customers", "customerz", *one) for one in METRICS),
    *(Case(EU, "email", "emial", *one) for one in COLUMNS),
    *(Case(EU, name, name[:-1] + "z", name, {}) for name in ("ingest", "release", "evaluate", "query_sql")),
]


@pytest.fixture(scope="module")
def place(tiny: BuiltWorkspace, tmp_path_factory: pytest.TempPathFactory) -> BuiltWorkspace:
    """A copy of the tiny workspace under SALES."""
    root = tmp_path_factory.mktemp("existence") / "own"
    shutil.copytree(tiny.root, root, symlinks=True)
    built = BuiltWorkspace(root)
    Ledger(built.home).publish_policies({"sales": policy_to_json(SALES)}, by="test")
    return built


@pytest.fixture(scope="module")
def service(place: BuiltWorkspace) -> Iterator[Service]:
    with serving(serving_settings(place.door), {}) as opened:
        yield opened


@pytest.fixture(scope="module")
def running(place: BuiltWorkspace) -> Iterator[Running]:
    with running_server(place) as server:
        yield server


def plain(text: str, name: str) -> str:
    """The text without what may differ: the name that was asked for, the audit id, the milliseconds."""
    text = re.sub(r"a-\d{8}T\d{6}-[0-9a-f]{12}", "AUDIT", text)
    text = re.sub(r'"ms": ?[0-9.e+-]+', '"ms":0', text)
    return text.replace(name, "N" * len(name))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases_21_and_23_a_tool_tells_a_hidden_name_as_little_as_an_unknown_one(
    service: Service, case: Case
) -> None:
    told: list[str] = []
    for name in (case.hidden, case.unknown):
        tool = name if case.tool == case.hidden else case.tool
        answer = service.call(Caller(case.who, "http"), tool, case.asked(name))
        assert answer.error is not None, answer.data
        told.append(plain(json.dumps(answer.to_json()) + answer.to_text(), name))
        assert answer.error.code in ("unknown_name", "invalid_argument")
    assert told[0] == told[1]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rest_answers_both_with_the_same_status_headers_and_size(running: Running, case: Case) -> None:
    told: list[tuple[int, dict[str, str], str]] = []
    headers = {} if case.who.anonymous else {"Authorization": f"Bearer {running.token(case.who)}"}
    with httpx2.Client(base_url=running.origin, headers=headers, timeout=30) as http:
        for name in (case.hidden, case.unknown):
            tool = name if case.tool == case.hidden else case.tool
            response = http.post(f"/api/tools/{tool}", json=case.asked(name))
            sent = {k: v for k, v in response.headers.items() if k not in ("date", "content-length")}
            told.append((response.status_code, sent, plain(response.text, name)))
    assert told[0] == told[1]


ERAS = ("legacy", "2026-07-28")


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ERAS)
async def test_mcp_answers_both_alike_in_calls_resources_and_completions(running: Running, mode: Any) -> None:
    for who in (ANONYMOUS, EU):
        headers = {} if who.anonymous else {"Authorization": f"Bearer {running.token(who)}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as http,
            Client(streamable_http_client(running.url, http_client=http), mode=mode) as connected,
        ):
            for case in (case for case in CASES if case.who == who):
                told = [await called(connected, case, name) for name in (case.hidden, case.unknown)]
                assert told[0] == told[1], str(case)
            hidden, unknown = ("sales", "tales") if who.anonymous else ("customers", "customerz")
            for uri in (*URIS, "metric://{name}/revenue" if who.anonymous else "metric://sales/{name}"):
                read = [await read_of(connected, uri.format(name=name), name) for name in (hidden, unknown)]
                assert read[0] == read[1], uri


URIS = (
    "dp://{name}",
    "dp://{name}/orders",
    "doc://{name}/a",
    "doc://{name}/a/b",
    "x://{name}",
)


async def called(connected: Client, case: Case, name: str) -> str:
    """What a caller is told: an error result, or where the tool itself is what does not exist, a protocol error."""
    if case.tool == case.hidden:
        with pytest.raises(MCPError) as refusal:
            await connected.call_tool(name, case.asked(name))
        return plain(f"{refusal.value.error.code} {refusal.value.error.message} {refusal.value.error.data}", name)
    result = await connected.call_tool(case.tool, case.asked(name))
    assert result.is_error
    return plain(result.model_dump_json(), name)


async def read_of(connected: Client, uri: str, name: str) -> str:
    with pytest.raises(MCPError) as refusal:
        await connected.read_resource(uri)
    return plain(f"{refusal.value.error.code} {refusal.value.error.message} {refusal.value.error.data}", name)


@pytest.mark.anyio
async def test_case_24_no_list_or_completion_names_what_is_hidden(running: Running) -> None:
    async with Client(streamable_http_client(running.url), mode="2026-07-28") as connected:
        listed = await connected.list_resources()
        prompts = await connected.list_prompts()
        templates = await connected.list_resource_templates()
        tools = await connected.list_tools()
        completed = [
            (await connected.complete(reference, {"name": argument, "value": value})).completion.values
            for argument in ("product", "dataset", "metric")
            for value in ("", "s", "sales", "re")
            for reference in (
                ResourceTemplateReference(type="ref/resource", uri="metric://{product}/{metric}"),
                PromptReference(type="ref/prompt", name="investigate_metric"),
            )
        ]
    said = " ".join(one.model_dump_json() for one in (listed, prompts, templates)) + json.dumps(completed)
    said += json.dumps([tool.name for tool in tools.tools])
    for hidden in ("sales", "revenue", "order_count", "email", "query_sql", '"ingest"'):
        assert hidden not in said


def test_the_openapi_document_names_no_tool_that_the_caller_may_not_know(running: Running) -> None:
    with httpx2.Client(base_url=running.origin) as http:
        seen = http.get("/api/openapi.json").json()["paths"]
        headers = {"Authorization": f"Bearer {running.token(OPERATOR)}"}
        more = http.get("/api/openapi.json", headers=headers).json()["paths"]
    assert "/api/tools/discover" in seen
    assert "/api/tools/ingest" not in seen
    assert "/api/tools/ingest" in more


CLI = [
    (commands.describe, ["{name}"], "sales", "tales"),
    (commands.lookup, ["{name}", "orders", "1"], "sales", "tales"),
    (commands.lookup, ["sales", "orders", "--column", "{name}"], "email", "emial"),
    (commands.query, ["{name}"], "customers", "customerz"),
    (commands.query, ["revenue", "--by", "{name}"], "email", "emial"),
    (commands.search, ["boots", "--product", "{name}"], "sales", "tales"),
]


@pytest.mark.parametrize(("command", "arguments", "hidden", "unknown"), CLI)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_the_command_line_tells_them_apart_no_more_than_an_agent(
    place: BuiltWorkspace, command: Any, arguments: list[str], hidden: str, unknown: str, more: list[str]
) -> None:
    form = (
        {"roles": ["public"]} if hidden == "sales" else {"roles": ["analyst"], "attributes": {"regions": ["EU"]}}
    )
    told: list[tuple[int, str]] = []
    for name in (hidden, unknown):
        given = [part.format(name=name) for part in arguments] + ["--as", json.dumps(form), *more]
        done = CliRunner().invoke(command, given, obj=place.door)
        told.append((done.exit_code, plain(f"{done.output} {done.exception}", name)))
    assert told[0] == told[1]
    assert told[0][0] != 0


# -- what was seen before --------------------------------------------------------------------------------------


@pytest.fixture
def own(tiny: BuiltWorkspace, tmp_path: Path) -> BuiltWorkspace:
    shutil.copytree(tiny.root, tmp_path / "own", symlinks=True)
    return BuiltWorkspace(tmp_path / "own")


@pytest.fixture
def ask(own: BuiltWorkspace) -> Iterator[Asker]:
    with serving(serving_settings(own.door), {}) as service:
        yield Asker(service)


def test_case_31_cursors_references_and_jobs_of_what_was_revoked_are_of_no_use(
    own: BuiltWorkspace, ask: Asker
) -> None:
    asked = {"question": "boots", "products": ["handbook"], "limit": 1}
    found = ask.ok(EU, "search", **asked)
    assert found.page is not None
    Ledger(own.home).publish_policies({"handbook": policy_to_json(Policy("handbook"))}, by="test")
    for tool, arguments in (
        ("search", {**asked, "cursor": found.page.next_cursor}),
        ("fetch", {"ref": found.data["hits"][0]["ref"]}),
        ("describe", {"ref": "dp://handbook"}),
    ):
        told: list[str] = []
        for name in ("handbook", "handbuch"):
            form = json.loads(json.dumps(arguments).replace("handbook", name))
            answer = ask(EU, tool, **form)
            told.append(plain(json.dumps(answer.to_json()), name))
            assert answer.error is not None
        assert told[0] == told[1]


def test_a_right_that_was_revoked_stays_so_after_the_data_is_rolled_back(own: BuiltWorkspace, ask: Asker) -> None:
    ledger = Ledger(own.home)
    before = ledger.edition().number
    page = own.root / "products/handbook/data/returns.md"
    page.write_text(page.read_text() + "\nBoots too.\n")
    own.ingest("handbook")
    narrower = Policy("sales", (replace(SALES.rules[0], rows=In("region", ("US",))),))
    ledger.publish_policies(
        {"sales": policy_to_json(narrower), "handbook": policy_to_json(Policy("handbook"))}, by="t"
    )
    rollback(ledger, before, by="test")
    refresh(ask.service.library)
    assert ask.service.library.ledger.edition().number > before
    assert "handbook" not in str(ask.ok(EU, "discover").data)
    assert ask(EU, "query_metrics", metrics=["revenue"], dimensions=["region"]).data["rows"][0]["region"] == "US"


@pytest.mark.parametrize("argument", ["tenant", "tenant_id", "acl", "as", "principal", "purpose", "roles"])
def test_case_33_rights_cannot_be_handed_in_as_arguments(ask: Asker, argument: str) -> None:
    for tool, given in (
        ("search", {"question": "boots"}),
        ("query_metrics", {"metrics": ["revenue"]}),
        ("discover", {}),
    ):
        error = ask(EU, tool, **given, **{argument: "acme"}).error
        assert error is not None
        assert error.code in ("unknown_name", "invalid_argument")


def test_another_callers_job_does_not_exist(ask: Asker) -> None:
    job = ask.ok(OPERATOR, "ingest", products=["handbook"]).data["job"]["job"]
    other = replace(OPERATOR, subject="oscar")
    told = [plain(json.dumps(ask(other, "status", job=name).to_json()), name) for name in (job, job[:-1] + "_")]
    assert told[0] == told[1]


def test_another_callers_answer_cannot_be_traced(ask: Asker) -> None:
    audit_id = ask.ok(EU, "discover").receipt.audit_id
    unknown = audit_id[:-4] + ("0000" if audit_id[-4:] != "0000" else "1111")
    told = [json.dumps(ask(ANONYMOUS, "trace", audit_id=name).to_json()) for name in (audit_id, unknown)]
    assert plain(told[0], audit_id) == plain(told[1], unknown)
