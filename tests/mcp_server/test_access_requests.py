"""Access is asked for with a purpose; its owner decides; only a policy gives rights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mcp_server.access_requests import MAX_OPEN, AccessRequests
from mcp_server.opening import serving
from mcp_server.settings import serving_settings
from semantic_layer.errors import InvalidArgument
from tests.mcp_server.callers import EU, PUBLIC, US, Asker
from tests.workspace_factory import BuiltWorkspace
from wellhead import cli

ASKING = replace(EU, scopes=frozenset({"read", "request"}))
OTHER = replace(US, scopes=frozenset({"read", "request"}))


@pytest.fixture
def own(tiny: BuiltWorkspace, tmp_path: Path) -> BuiltWorkspace:
    shutil.copytree(tiny.root, tmp_path / "own", symlinks=True)
    return BuiltWorkspace(tmp_path / "own")


@pytest.fixture
def ask(own: BuiltWorkspace) -> Iterator[Asker]:
    with serving(serving_settings(own.door), {}) as opened:
        yield Asker(opened)


def test_a_request_waits_until_its_owner_decides(ask: Asker, own: BuiltWorkspace) -> None:
    asked = ask.ok(ASKING, "request_access", product="sales", purpose="yearly report").data["request"]
    assert asked["state"] == "pending"
    again = ask.ok(ASKING, "request_access", product="sales", purpose="yearly report").data["request"]
    assert again["id"] == asked["id"]
    listed = CliRunner().invoke(cli, ["--workspace", str(own.root), "access", "list", "--json"])
    assert [one["purpose"] for one in json.loads(listed.output)] == ["yearly report"]
    said = CliRunner().invoke(
        cli, ["--workspace", str(own.root), "access", "approve", asked["id"], "--note", "ok"]
    )
    assert "add a rule for eva" in said.output
    decided = ask.ok(ASKING, "request_access", request=asked["id"]).data["request"]
    assert (decided["state"], decided["decided_by"], decided["note"]) == ("approved", "cli", "ok")


def test_an_approval_is_no_right(ask: Asker, own: BuiltWorkspace) -> None:
    before = ask.ok(ASKING, "lookup", product="sales", dataset="orders").digest
    asked = ask.ok(ASKING, "request_access", product="sales", purpose="emails").data["request"]
    AccessRequests(own.home).decide(asked["id"], "approved", "sam", "")
    assert ask.ok(ASKING, "lookup", product="sales", dataset="orders").digest == before


def test_a_decision_is_made_once(ask: Asker, own: BuiltWorkspace) -> None:
    asked = ask.ok(ASKING, "request_access", product="sales", purpose="x").data["request"]
    requests = AccessRequests(own.home)
    requests.decide(asked["id"], "refused", "sam", "ask for totals")
    with pytest.raises(InvalidArgument, match="decided before"):
        requests.decide(asked["id"], "approved", "eve", "")
    assert ask.ok(ASKING, "request_access", request=asked["id"]).data["request"]["state"] == "refused"


def test_what_does_not_exist_for_a_caller_cannot_be_asked_for(ask: Asker) -> None:
    public = replace(PUBLIC, scopes=frozenset({"read", "request"}))
    hidden = ask(public, "request_access", product="sales", purpose="x")
    absent = ask(public, "request_access", product="sulfs", purpose="x")
    assert str(hidden.error).replace("sales", "?") == str(absent.error).replace("sulfs", "?")


def test_another_callers_request_reads_like_an_unknown_one(ask: Asker) -> None:
    asked = ask.ok(ASKING, "request_access", product="sales", purpose="x").data["request"]
    stolen = ask(OTHER, "request_access", request=asked["id"])
    absent = ask(OTHER, "request_access", request="access-0")
    assert str(stolen.error).replace(asked["id"], "?") == str(absent.error).replace("access-0", "?")


@pytest.mark.parametrize("bad", ["..", "../jobs", "access-x/..", "", "x" * 5_000])
def test_an_id_is_never_a_path(ask: Asker, bad: str) -> None:
    assert ask(ASKING, "request_access", request=bad).error is not None


def test_the_tool_is_hidden_without_its_scope(ask: Asker) -> None:
    assert ask(EU, "request_access", product="sales", purpose="x").error is not None
    assert "request_access" not in [tool.name for tool in ask.service.tools_of(EU)]
    assert "request_access" in [tool.name for tool in ask.service.tools_of(ASKING)]


def test_one_caller_cannot_fill_the_queue(ask: Asker) -> None:
    for number in range(MAX_OPEN):
        ask.ok(ASKING, "request_access", product="sales", purpose=f"purpose {number}")
    assert ask(ASKING, "request_access", product="sales", purpose="one more").error is not None
    assert ask(OTHER, "request_access", product="sales", purpose="mine").error is None
