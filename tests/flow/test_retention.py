"""Old generations go when retention no longer keeps them, and never under a reader, a rollback or a kill."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from indexes.commands import rollback, status
from indexes.generation import generation_folder, generations_folder, verify
from indexes.hold import Hold, alone_with
from indexes.ledger import Ledger, Tombstone
from indexes.library import Library
from indexes.release import promote
from indexes.release import rollback as roll_back
from indexes.retention import collect, retained_editions, surplus
from ingest.products import ingest_all
from ingest.progress import Silent
from ingest.prune import prune
from ingest.report import RunReport
from ingest.settings import IngestSettings
from semantic_layer.door import Door
from semantic_layer.errors import InvalidArgument, InvalidWorkspace, UnknownName
from semantic_layer.retention_settings import RetentionSettings
from semantic_layer.workspace import load_workspace
from tests.workspace_factory import BuiltWorkspace

MINUTE = timedelta(minutes=1)
NEWEST_TWO = RetentionSettings(editions=2, days=0)
HOLDER = """
import sys
from pathlib import Path
from indexes.hold import Hold
with Hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
servers: [{server: files, type: local, path: data, format: csv}]
schema:
  - name: orders
    physicalType: table
    properties:
      - {name: id, logicalType: integer, primaryKey: true, primaryKeyPosition: 1}
      - {name: email, logicalType: string, classification: restricted}
"""


def stated(built: BuiltWorkspace, **retention: Any) -> None:
    """Write the section `retention`."""
    text = yaml.safe_dump({"version": 1, "name": "shop", "retention": retention})
    (built.root / "wellhead.yaml").write_text(text)


def ingest(built: BuiltWorkspace, round_: int) -> RunReport:
    """Publish the sales, with one row more each round."""
    rows = "".join(f"{number},anna@example.com\n" for number in range(round_ + 1))
    (built.root / "products/sales/data/orders.csv").write_text(f"id,email\n{rows}")
    settings = IngestSettings(device="cpu")
    ((_, report),) = ingest_all(load_workspace(built.root), ["sales"], settings, by="test", progress=Silent())
    assert isinstance(report, RunReport), report
    return report


def sealed(built: BuiltWorkspace) -> set[str]:
    return {path.name for path in generations_folder(built.home, "sales").iterdir()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> BuiltWorkspace:
    built = BuiltWorkspace(tmp_path_factory.mktemp("retention") / "shop")
    (built.root / "products/sales/data").mkdir(parents=True)
    (built.root / "products/sales/contract.yaml").write_text(CONTRACT)
    stated(built, editions=2, days=0, automatic=False)
    for round_ in range(4):
        ingest(built, round_)
    return built


@pytest.fixture
def shop(tmp_path: Path, made: BuiltWorkspace) -> BuiltWorkspace:
    """Four editions of the sales, of which only the newest two are within retention; nothing was removed yet."""
    built = BuiltWorkspace(Path(shutil.copytree(made.root, tmp_path / "shop")))
    assert len(sealed(built)) == 4
    return built


def run(built: BuiltWorkspace, command: Any, *arguments: str) -> Any:
    """The command's JSON; its failure is raised."""
    door = Door(built.root, {})
    result = CliRunner().invoke(command, [*arguments, "--json"], obj=door, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def named(built: BuiltWorkspace) -> list[str]:
    """The generation of each edition, oldest first."""
    return [edition.products["sales"] for edition in reversed(Ledger(built.home).editions())]


@contextmanager
def held_by_a_process(folder: Path) -> Generator[subprocess.Popen[str]]:
    """A process that reads the generation while the block runs, unless the test kills it."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_dry_look_names_what_would_go_and_touches_nothing(shop: BuiltWorkspace) -> None:
    generations = named(shop)
    told = run(shop, prune, "--dry-run")
    assert [(one["generation"], one["fate"]) for one in told] == [(one, "surplus") for one in generations[:2]]
    assert all(one["bytes"] > 10_000 for one in told)
    (row,) = run(shop, status)["products"]
    assert (row["kept"], row["surplus"]) == (4, 2)
    assert sealed(shop) == set(generations)


def test_prune_removes_what_no_edition_within_retention_names(shop: BuiltWorkspace) -> None:
    generations = named(shop)
    assert {one["fate"] for one in run(shop, prune)} == {"removed"}
    assert sealed(shop) == set(generations[2:])
    assert list((shop.home / "stages").iterdir()) == []
    assert run(shop, prune) == []
    with pytest.raises(UnknownName, match="no product 'sails'"):
        run(shop, prune, "sails")


def test_an_ingest_removes_them_itself_and_says_so(shop: BuiltWorkspace) -> None:
    stated(shop, editions=2, days=0)
    generations = named(shop)
    report = ingest(shop, 4)
    assert [one["generation"] for one in report.collected] == generations[:3]
    assert any("removed: 3 generations that retention no longer keeps" in line for line in report.lines())
    kept = json.loads(max((shop.home / "runs").iterdir()).read_text())["collected"]
    assert {one["fate"] for one in kept} == {"removed"}
    assert sealed(shop) == {generations[3], report.generation}


def test_what_was_live_within_the_days_stays_however_many_editions_followed(shop: BuiltWorkspace) -> None:
    ledger, now = Ledger(shop.home), datetime.now(UTC)
    assert surplus(ledger, "sales", RetentionSettings(editions=1, days=1), now) == []
    later = now + timedelta(days=40)
    assert len(surplus(ledger, "sales", RetentionSettings(editions=1, days=1), later)) == 3
    assert len(retained_editions(ledger, RetentionSettings(editions=3, days=1), later)) == 3
    assert len(retained_editions(ledger, RetentionSettings(editions=1, days=60), later)) == 4


def test_a_generation_that_a_process_reads_stays_until_the_process_ends_however_it_ends(
    shop: BuiltWorkspace,
) -> None:
    ledger, generations, now = Ledger(shop.home), named(shop), datetime.now(UTC)
    with held_by_a_process(generation_folder(shop.home, "sales", generations[0])) as process:
        found = {one.generation: one.fate for one in collect(ledger, "sales", NEWEST_TWO, now)}
        assert found == {generations[0]: "held", generations[1]: "removed"}
        verify(generation_folder(shop.home, "sales", generations[0]))
        process.kill()
        process.wait()
        (last,) = collect(ledger, "sales", NEWEST_TWO, now)
        assert (last.generation, last.fate) == (generations[0], "removed")


def test_a_server_that_serves_an_old_edition_keeps_it(shop: BuiltWorkspace) -> None:
    ledger, generations, now = Ledger(shop.home), named(shop), datetime.now(UTC)
    library = Library(shop.home, lambda _: pytest.fail("no text, no model"), ledger=ledger)
    with library.at(1) as snapshot:
        fates = {one.generation: one.fate for one in collect(ledger, "sales", NEWEST_TWO, now)}
        assert fates == {generations[0]: "held", generations[1]: "removed"}
        verify(snapshot.generations["sales"].folder)
    assert [one.fate for one in collect(ledger, "sales", NEWEST_TWO, now)] == ["removed"]
    with pytest.raises(UnknownName, match="generation"), library.at(1):
        pass
    library.close()


def test_one_that_is_being_made_live_is_not_removed_and_one_that_is_gone_is_not_made_live(
    shop: BuiltWorkspace,
) -> None:
    ledger, generations, now = Ledger(shop.home), named(shop), datetime.now(UTC)
    seen: list[str] = []

    def meanwhile(_: object) -> None:
        seen.extend(one.fate for one in collect(ledger, "sales", NEWEST_TWO, now))

    promote(ledger, "sales", generations[0], by="test", judge=meanwhile)
    assert seen == ["held", "removed"]
    assert ledger.edition().products == {"sales": generations[0]}
    assert [one.generation for one in collect(ledger, "sales", NEWEST_TWO, now)] == [generations[2]]
    with pytest.raises(UnknownName):
        promote(ledger, "sales", generations[1], by="test")
    verify(generation_folder(shop.home, "sales", generations[0]))


def test_one_that_became_live_while_it_was_looked_for_is_not_removed(
    shop: BuiltWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, generations, now = Ledger(shop.home), named(shop), datetime.now(UTC)

    def slow(folder: Path) -> Any:
        """Somebody rolls back in the last moment before the folder is had alone."""
        if folder.name == generations[0]:
            roll_back(Ledger(shop.home), 1, by="test")
        return alone_with(folder)

    monkeypatch.setattr("indexes.retention.alone_with", slow)
    fates = {one.generation: one.fate for one in collect(ledger, "sales", NEWEST_TWO, now)}
    assert fates[generations[0]] == "held"
    assert ledger.edition().products == {"sales": generations[0]}
    verify(generation_folder(shop.home, "sales", generations[0]))


def test_a_rollback_past_what_is_kept_is_refused_naming_the_oldest_that_stands(shop: BuiltWorkspace) -> None:
    run(shop, prune)
    with pytest.raises(
        InvalidArgument, match=r"edition 1 cannot be gone back to: sales/\w+ is no longer kept"
    ) as said:
        run(shop, rollback, "--to", "1")
    assert said.value.hint == "The oldest edition that still stands is 3."
    assert Ledger(shop.home).edition().number == 4
    assert run(shop, rollback, "--to", "3")["edition"] == 5


def test_what_a_kill_left_half_removed_is_gone_with_the_next_collection(shop: BuiltWorkspace) -> None:
    ledger, generations = Ledger(shop.home), named(shop)
    aside = shop.home / "stages" / "sales@0"
    generation_folder(shop.home, "sales", generations[0]).rename(aside)
    (aside / "tables.duckdb").unlink()
    with pytest.raises(InvalidArgument, match="no longer kept"):
        roll_back(ledger, 1, by="test")
    collect(ledger, "sales", NEWEST_TWO, datetime.now(UTC))
    assert list((shop.home / "stages").iterdir()) == []


def test_the_erased_stay_erased_whatever_is_removed(shop: BuiltWorkspace) -> None:
    ledger = Ledger(shop.home)
    ledger.bury(Tombstone("sales", "orders", "email", ("anna@example.com",)), by="test")
    run(shop, prune)
    run(shop, rollback, "--to", "3")
    assert Ledger(shop.home).tombstones().entries == ledger.tombstones().entries


MOVES = st.lists(st.one_of(st.integers(0, 5), st.sampled_from(["collect", "hold", "let go"])), max_size=30)


@given(moves=MOVES, kept=st.integers(1, 4))
def test_whatever_is_published_held_and_removed_the_retained_editions_stand(
    tmp_path_factory: pytest.TempPathFactory, moves: list[int | str], kept: int
) -> None:
    """A number publishes that generation, which is sealed again where it was removed."""
    home = tmp_path_factory.mktemp("moves")
    ledger, settings, now = Ledger(home), RetentionSettings(editions=kept, days=0), datetime.now(UTC) + MINUTE
    holds: dict[str, Hold] = {}
    for move in moves:
        live = ledger.edition().products.get("sales")
        if isinstance(move, int):
            folder = generation_folder(home, "sales", f"g{move}")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "manifest.json").write_text("{}")
            ledger.publish(ledger.edition(), {"sales": folder.name}, action="test", by="test")
        elif move == "collect":
            collect(ledger, "sales", settings, now)
        elif move == "let go":
            while holds:
                holds.popitem()[1].close()
        elif live and live not in holds:
            holds[live] = Hold(generation_folder(home, "sales", live))
        named = {edition.products["sales"] for edition in ledger.editions(kept)}
        standing = {path.parent.name for path in home.glob("generations/sales/*/manifest.json")}
        assert named | holds.keys() <= standing
        if move == "collect":
            assert standing == named | holds.keys()
    for hold in holds.values():
        hold.close()


def test_who_may_only_read_the_home_may_look_too(shop: BuiltWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def read_only(path: Any, flags: int, *more: Any, **how: Any) -> int:
        if flags & os.O_RDWR and str(path).endswith("manifest.json"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, flags, *more, **how)

    monkeypatch.setattr(os, "open", read_only)
    assert [one["fate"] for one in run(shop, prune, "--dry-run")] == ["surplus", "surplus"]


def test_a_hold_on_what_was_replaced_or_never_sealed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="generation"):
        Hold(tmp_path / "never")


@pytest.mark.parametrize(("text", "said"), [("{editions: 0}", "at least 1"), ("{keep: 5}", "keep")])
def test_retention_that_would_keep_nothing_or_is_misspelt_is_a_mistake(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "wellhead.yaml").write_text(f"version: 1\nname: shop\nretention: {text}\n")
    with pytest.raises(InvalidWorkspace, match=said):
        assert Door(tmp_path, {}).settings
