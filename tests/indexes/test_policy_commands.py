"""`wellhead policy`: why somebody sees what it sees, by what is live or by the files; and the policies' own cases."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from indexes.ledger import Ledger
from indexes.policy_commands import policy
from semantic_layer.errors import InvalidWorkspace, UnknownName
from semantic_layer.policy import Policy
from semantic_layer.policy_file import policy_to_json
from semantic_layer.workspace import load_workspace
from tests.workspace_factory import BuiltWorkspace, build_workspace

EU = '{"roles": ["analyst"], "attributes": {"regions": ["EU"]}}'
CASES = """
cases:
  - name: analysts see hashed addresses of their region
    as: {roles: [analyst], attributes: {regions: [EU]}}
    action: lookup
    dataset: orders
    sees: [region, amount]
    masks: [email]
    rows: {shown: [{region: EU}], hidden: [{region: US}]}
  - name: the public sees nothing
    as: {roles: [public]}
    action: discover
    allowed: false
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, model_home: Path) -> BuiltWorkspace:
    return build_workspace("tiny", tmp_path_factory.mktemp("policy"), model_home)


@pytest.fixture
def own(built: BuiltWorkspace, tmp_path: Path) -> BuiltWorkspace:
    shutil.copytree(built.root, tmp_path / "own", symlinks=True)
    return BuiltWorkspace(tmp_path / "own")


def run(workspace: BuiltWorkspace, *arguments: str) -> Result:
    return CliRunner().invoke(policy, list(arguments), obj=workspace.door)


def explained(workspace: BuiltWorkspace, *arguments: str) -> dict[str, Any]:
    done = run(workspace, "explain", "sales", "--json", *arguments)
    assert done.exit_code == 0, done.exception
    return {one["action"]: one for one in json.loads(done.output)["actions"]}


def test_explain_names_each_rule_and_what_is_seen_of_each_dataset(built: BuiltWorkspace) -> None:
    lookup = explained(built, "--as", EU)["lookup"]
    assert lookup["granted"]
    assert lookup["rules"] == [{"rule": "analysts-see-their-regions", "effect": "allow", "says": "applies"}]
    (orders,) = lookup["datasets"]
    assert "amount" in orders["sees"]
    assert orders["masks"] == {"email": "hash"}
    assert orders["rows"][0]["where"] == {"field": "region", "op": "in", "value": ["EU"]}


def test_explain_says_what_a_caller_would_need(built: BuiltWorkspace) -> None:
    operate = explained(built, "--as", EU)["operate"]
    assert not operate["granted"]
    assert operate["rules"][0]["says"] == "needs the role operator"
    without = explained(built, "--as", '{"roles": ["analyst"]}')["search"]
    assert without["rules"][0]["says"] == "allows nothing: the caller lacks regions"


def test_explain_reads_well(built: BuiltWorkspace) -> None:
    said = run(built, "explain", "sales", "--as", EU).output
    assert "sales as cli (analyst), by policy revision 2" in said
    assert "search: granted (allowed by analysts-see-their-regions)" in said
    assert "orders: sees order_id, region, ordered_on, amount, remark; email as hash" in said


def test_explain_decides_by_what_is_in_force_and_a_draft_by_the_files(own: BuiltWorkspace) -> None:
    Ledger(own.home).publish_policies({"sales": policy_to_json(Policy("sales"))}, by="test")
    assert not explained(own, "--as", EU)["search"]["granted"]
    assert explained(own, "--as", EU, "--draft")["search"]["granted"]


def test_an_unknown_product_is_named(built: BuiltWorkspace) -> None:
    for more in ([], ["--draft"]):
        assert isinstance(run(built, "explain", "salse", *more).exception, UnknownName)


def with_cases(workspace: BuiltWorkspace, text: str) -> None:
    path = workspace.root / "products/sales/policy.yaml"
    path.write_text(path.read_text() + text)


def test_cases_that_hold_are_ok_and_those_that_do_not_say_why(own: BuiltWorkspace) -> None:
    with_cases(own, CASES)
    done = run(own, "test", "--json")
    assert done.exit_code == 0
    assert [one["failures"] for one in json.loads(done.output)["cases"]] == [[], []]
    path = own.root / "products/sales/policy.yaml"
    path.write_text(path.read_text().replace("mask: {email: hash}", "mask: {email: hash, amount: redact}"))
    done = run(own, "test", "sales")
    assert done.exit_code == 6
    assert "column 'amount' is masked, not plain." in done.output
    with pytest.raises(InvalidWorkspace, match="does not hold"):
        load_workspace(own.root)
