"""Moving what is live: history, rollback and promote on the command line, and `eval` of what is live."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evals.commands import evaluate
from indexes.commands import history, rollback, status
from indexes.generation import TABLES, generation_folder
from indexes.ledger import Ledger
from ingest.promotion import promote
from semantic_layer.door import Door
from semantic_layer.errors import CorruptGeneration, GateFailed, InvalidArgument
from semantic_layer.policy import Action, Policy, Rule
from semantic_layer.policy_file import policy_to_json
from tests.workspace_factory import BuiltWorkspace, build_workspace

Run = Callable[..., Any]


@pytest.fixture
def tiny(tmp_path: Path, model_home: Path) -> BuiltWorkspace:
    """The tiny workspace in edition 2, then the handbook changed and published as edition 3."""
    built = build_workspace("tiny", tmp_path, model_home)
    page = tmp_path / "products" / "handbook" / "data" / "returns.md"
    page.write_text(page.read_text().replace("30 days", "60 days"))
    built.ingest("handbook")
    return built


def run(tiny: BuiltWorkspace, command: Any, *arguments: str) -> Any:
    """The command's JSON; its failure is raised."""
    result: Result = CliRunner().invoke(
        command, [*arguments, "--json"], obj=Door(tiny.root, {}), catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_history_shows_every_edition_and_what_changed_between_two(tiny: BuiltWorkspace) -> None:
    editions = run(tiny, history)
    assert [one["edition"] for one in editions] == [3, 2, 1]
    (change,) = run(tiny, history, "--diff", "2", "3")
    assert change["product"] == "handbook"
    assert change["to"] == editions[0]["products"]["handbook"] != change["from"]


def test_a_rollback_makes_the_earlier_generation_live_and_keeps_the_newest_policy(tiny: BuiltWorkspace) -> None:
    ledger = Ledger(tiny.home)
    before = ledger.edition(2).products
    revision = ledger.publish_policies({"handbook": policy_to_json(Policy("handbook"))}, by="test").number
    edition = run(tiny, rollback, "--note", "bad page")
    assert (edition["edition"], edition["products"]) == (4, dict(before))
    assert (Ledger(tiny.home).policies().number, edition["note"]) == (revision, "bad page")


def test_a_rollback_tells_what_changed_and_no_id_is_cut_in_a_narrow_terminal(tiny: BuiltWorkspace) -> None:
    before = Ledger(tiny.home).edition().products["handbook"]
    door, narrow = Door(tiny.root, {}), {"COLUMNS": "40"}
    told = CliRunner(env=narrow).invoke(rollback, ["--to", "1"], obj=door, catch_exceptions=False).output
    assert f"sales: {Ledger(tiny.home).edition(3).products['sales']} → no longer live" in told
    assert f"handbook: {before} → " in told
    listed = CliRunner(env=narrow).invoke(history, [], obj=door, catch_exceptions=False).output
    assert f"handbook={before}" in listed


def test_promote_makes_a_sealed_generation_live_again(tiny: BuiltWorkspace) -> None:
    earlier = Ledger(tiny.home).edition(2).products["handbook"]
    assert run(tiny, promote, "handbook", earlier)["products"]["handbook"] == earlier
    with pytest.raises(InvalidArgument, match="live already"):
        run(tiny, promote, "handbook", earlier)


def test_a_damaged_generation_is_not_rolled_back_to(tiny: BuiltWorkspace) -> None:
    earlier = Ledger(tiny.home).edition(2).products["handbook"]
    tables = generation_folder(tiny.home, "handbook", earlier) / TABLES
    content = bytearray(tables.read_bytes())
    content[len(content) // 2] ^= 1
    tables.write_bytes(content)
    with pytest.raises(CorruptGeneration, match=TABLES):
        run(tiny, rollback)
    assert Ledger(tiny.home).edition().number == 3


@pytest.mark.parametrize(("arguments", "said"), [(["--to", "9"], "no edition 9"), (["--to", "3"], "no edition 3")])
def test_there_is_no_rollback_to_what_is_not_earlier(
    tiny: BuiltWorkspace, arguments: list[str], said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        run(tiny, rollback, *arguments)


def test_status_names_what_is_live(tiny: BuiltWorkspace) -> None:
    told = run(tiny, status)
    assert told["edition"] == 3
    assert {one["product"]: one["rows"] for one in told["products"]} == {"handbook": 4, "sales": 8}


def test_eval_asks_the_sealed_cases_and_fails_where_a_policy_lets_one_out(tiny: BuiltWorkspace) -> None:
    results = run(tiny, evaluate)
    assert all(case["passed"] for result in results for case in result["cases"])
    everything = Rule("all", frozenset({"*"}), frozenset({Action.DISCOVER, Action.LOOKUP, Action.METRIC}))
    open_policy = policy_to_json(Policy("sales", (everything,)))
    Ledger(tiny.home).publish_policies({"sales": open_policy}, by="test")
    with pytest.raises(GateFailed, match="sales/no-addresses"):
        run(tiny, evaluate, "sales")
