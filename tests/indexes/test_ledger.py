"""The ledger under concurrent publishers, kills, rollbacks and erasure."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from indexes.ledger import Edition, Ledger, Tombstone, retry_on_conflict
from semantic_layer.errors import CorruptGeneration, EditionConflict, NewerFormat, UnknownName
from semantic_layer.predicate import FALSE, TRUE, evaluate
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset


def product(*columns: str) -> DataProduct:
    declared = tuple(Column(name, ColumnType.INTEGER) for name in columns)
    return DataProduct("orders", "1", "id", "active", "v3.1.0", datasets=(Dataset("orders", "table", declared),))


def publish(ledger: Ledger, name: str, generation: str) -> Edition:
    return retry_on_conflict(
        lambda: ledger.publish(ledger.edition(), {name: generation}, action="publish", by="t")
    )


def test_an_empty_home_has_edition_zero(tmp_path: Path) -> None:
    assert Ledger(tmp_path).edition() == Edition(0, {}, "empty", "", "")


def test_each_publish_appends_one_edition_and_keeps_the_others_products(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    publish(ledger, "orders", "a")
    publish(ledger, "handbook", "b")
    assert ledger.edition().products == {"orders": "a", "handbook": "b"}
    assert ledger.edition(1).products == {"orders": "a"}
    assert [edition.number for edition in ledger.editions()] == [2, 1]


def test_a_publisher_that_read_an_old_edition_is_told_and_nothing_changes(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    stale = ledger.edition()
    publish(ledger, "orders", "a")
    with pytest.raises(EditionConflict):
        ledger.publish(stale, {"orders": "b"}, action="publish", by="t")
    assert ledger.edition().products == {"orders": "a"}


def _publish_many(home: Path, worker: int) -> None:
    ledger = Ledger(home)
    for turn in range(10):
        publish(ledger, f"product-{worker}", f"g{turn}")


def test_concurrent_publishers_lose_no_edition(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_publish_many, args=(tmp_path, n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    editions = Ledger(tmp_path).editions(limit=100)
    assert len(editions) == 40
    assert editions[0].products == {f"product-{n}": "g9" for n in range(4)}
    for later, earlier in itertools.pairwise(editions):
        changed = {name for name in later.products if later.products[name] != earlier.products.get(name)}
        assert len(changed) == 1


def _publish_until_killed(home: Path) -> None:
    ledger = Ledger(home)
    while True:
        publish(ledger, "orders", f"g{ledger.latest_edition_number()}")


@pytest.mark.parametrize("wait", [0.01, 0.05, 0.1])
def test_a_killed_publisher_leaves_a_whole_edition(tmp_path: Path, wait: float) -> None:
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=_publish_until_killed, args=(tmp_path,))
    worker.start()
    worker.join(wait)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    ledger = Ledger(tmp_path)
    for edition in ledger.editions(limit=10_000):
        assert set(edition.products) == {"orders"}
    assert publish(ledger, "orders", "after").products["orders"] == "after"


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    publish(ledger, "orders", "a")
    path = next((tmp_path / "ledger" / "editions").glob("*.json"))
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(NewerFormat, match="format 99"):
        Ledger(tmp_path).edition()


def test_a_torn_edition_is_named(tmp_path: Path) -> None:
    publish(Ledger(tmp_path), "orders", "a")
    path = next((tmp_path / "ledger" / "editions").glob("*.json"))
    path.write_text(path.read_text()[:20])
    with pytest.raises(CorruptGeneration, match=path.name):
        Ledger(tmp_path).edition()


def test_an_edition_that_never_was_is_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownName):
        Ledger(tmp_path).edition(7)


def test_a_rollback_of_data_never_rolls_back_policy(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    publish(ledger, "orders", "a")
    ledger.publish_policies({"orders": {"rules": ["open"]}}, by="t")
    publish(ledger, "orders", "b")
    ledger.publish_policies({"orders": {"rules": []}}, by="t")
    ledger.publish(ledger.edition(), {"orders": "a"}, action="rollback", by="t")
    assert ledger.edition().products == {"orders": "a"}
    assert ledger.policies().documents == {"orders": {"rules": []}}


def test_publishing_an_unchanged_policy_appends_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    first = ledger.publish_policies({"orders": {"rules": []}}, by="t")
    assert ledger.publish_policies({"orders": {"rules": []}}, by="t").number == first.number


def test_an_erased_subject_is_gone_for_every_reader_and_null_keys_stay(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.bury(Tombstone("orders", "orders", "customer_id", ("7",)), by="t")
    kept = Ledger(tmp_path).tombstones().excluding(product("customer_id"), "orders")
    assert evaluate(kept, {"customer_id": 7}) is False
    assert evaluate(kept, {"customer_id": 8}) is True
    assert evaluate(kept, {"customer_id": None}) is True
    assert Ledger(tmp_path).tombstones().excluding(product("id"), "returns") == TRUE


def test_data_sealed_without_the_erased_column_is_not_shown(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.bury(Tombstone("orders", "orders", "customer_id", ("7",)), by="t")
    assert ledger.tombstones().excluding(product("id"), "orders") == FALSE
