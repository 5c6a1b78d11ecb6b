"""The ledger under concurrent publishers, kills, rollbacks and erasure: the same in files and in PostgreSQL."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from indexes.ledger import Edition, Ledger, Tombstone, retry_on_conflict
from indexes.ledgers import open_ledger
from semantic_layer.certification import Certificate
from semantic_layer.errors import CorruptGeneration, EditionConflict, NewerFormat, UnknownName
from semantic_layer.predicate import FALSE, TRUE, evaluate
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from semantic_layer.settings import LedgerEngine, PostgresSettings


@dataclass(frozen=True)
class Place:
    """Where the ledger of a test lies, and how a hand reaches into it."""

    home: Path
    engine: LedgerEngine
    postgres: PostgresSettings

    def open(self) -> Ledger:
        return open_ledger(self.home, self.engine, self.postgres, {})

    def newest_text(self, change: tuple[str, str]) -> None:
        """Put the second text in place of the first in the newest edition; an empty first keeps 20 characters."""
        old, new = change
        if self.engine == "files":
            path = max((self.home / "ledger" / "editions").glob("*.json"))
            path.write_text(path.read_text().replace(old, new) if old else path.read_text()[:20])
            return
        text = f"replace(entry, '{old}', '{new}')" if old else "left(entry, 20)"
        with psycopg.connect(self.postgres.dsn) as connection:
            connection.execute(f"UPDATE {self.postgres.schema}.ledger SET entry = {text} WHERE log = 'editions'")  # pyright: ignore


@pytest.fixture(params=["files", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty ledger; every test runs over both kinds."""
    if request.param == "files":
        return Place(tmp_path, "files", PostgresSettings())
    dsn: str = request.getfixturevalue("postgres_dsn")
    return Place(tmp_path, "postgres", PostgresSettings(dsn, f"ledger_{uuid.uuid4().hex[:12]}"))


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger]:
    with closing(place.open()) as opened:
        yield opened


@pytest.fixture
def other(place: Place) -> Iterator[Ledger]:
    """The same ledger as another process sees it."""
    with closing(place.open()) as opened:
        yield opened


def product(*columns: str) -> DataProduct:
    declared = tuple(Column(name, ColumnType.INTEGER) for name in columns)
    return DataProduct("orders", "1", "id", "active", "v3.1.0", datasets=(Dataset("orders", "table", declared),))


def publish(ledger: Ledger, name: str, generation: str) -> Edition:
    return retry_on_conflict(
        lambda: ledger.publish(ledger.edition(), {name: generation}, action="publish", by="t")
    )


def test_an_empty_home_has_edition_zero(ledger: Ledger) -> None:
    assert ledger.edition() == Edition(0, {}, "empty", "", "")


def test_each_publish_appends_one_edition_and_keeps_the_others_products(ledger: Ledger) -> None:
    publish(ledger, "orders", "a")
    publish(ledger, "handbook", "b")
    assert ledger.edition().products == {"orders": "a", "handbook": "b"}
    assert ledger.edition(1).products == {"orders": "a"}
    assert [edition.number for edition in ledger.editions()] == [2, 1]


def test_a_publisher_that_read_an_old_edition_is_told_and_nothing_changes(ledger: Ledger) -> None:
    stale = ledger.edition()
    publish(ledger, "orders", "a")
    with pytest.raises(EditionConflict):
        ledger.publish(stale, {"orders": "b"}, action="publish", by="t")
    assert ledger.edition().products == {"orders": "a"}


def _publish_many(place: Place, worker: int) -> None:
    with closing(place.open()) as ledger:
        for turn in range(10):
            publish(ledger, f"product-{worker}", f"g{turn}")


def test_concurrent_publishers_lose_no_edition(place: Place, ledger: Ledger) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_publish_many, args=(place, n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    editions = ledger.editions(limit=100)
    assert len(editions) == 40
    assert editions[0].products == {f"product-{n}": "g9" for n in range(4)}
    for later, earlier in itertools.pairwise(editions):
        changed = {name for name in later.products if later.products[name] != earlier.products.get(name)}
        assert len(changed) == 1


def _publish_until_killed(place: Place) -> None:
    ledger = place.open()
    while True:
        publish(ledger, "orders", f"g{ledger.latest_edition_number()}")


@pytest.mark.parametrize("wait", [0.01, 0.05, 0.1])
def test_a_killed_publisher_leaves_a_whole_edition(place: Place, ledger: Ledger, wait: float) -> None:
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=_publish_until_killed, args=(place,))
    worker.start()
    worker.join(wait)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    for edition in ledger.editions(limit=10_000):
        assert set(edition.products) == {"orders"}
    assert publish(ledger, "orders", "after").products["orders"] == "after"


def test_a_newer_format_is_refused_by_name(place: Place, ledger: Ledger) -> None:
    publish(ledger, "orders", "a")
    place.newest_text(('"format": 1', '"format": 99'))
    with pytest.raises(NewerFormat, match="format 99"):
        ledger.edition()


def test_a_torn_edition_is_named(place: Place, ledger: Ledger) -> None:
    publish(ledger, "orders", "a")
    place.newest_text(("", ""))
    with pytest.raises(CorruptGeneration, match=r"0000000001\.json|editions 1 of the ledger"):
        ledger.edition()


def test_an_edition_that_says_it_is_another_is_named(place: Place, ledger: Ledger) -> None:
    publish(ledger, "orders", "a")
    place.newest_text(('"number": 1', '"number": 2'))
    with pytest.raises(CorruptGeneration, match="says it is number 2"):
        ledger.edition()


def test_an_edition_that_never_was_is_an_unknown_name(ledger: Ledger) -> None:
    with pytest.raises(UnknownName):
        ledger.edition(7)
    publish(ledger, "orders", "a")
    with pytest.raises(UnknownName, match="The newest is 1"):
        ledger.edition(7)


def test_a_rollback_of_data_never_rolls_back_policy(ledger: Ledger) -> None:
    publish(ledger, "orders", "a")
    ledger.publish_policies({"orders": {"rules": ["open"]}}, by="t")
    publish(ledger, "orders", "b")
    ledger.publish_policies({"orders": {"rules": []}}, by="t")
    ledger.publish(ledger.edition(), {"orders": "a"}, action="rollback", by="t")
    assert ledger.edition().products == {"orders": "a"}
    assert ledger.policies().documents == {"orders": {"rules": []}}


def test_publishing_an_unchanged_policy_appends_nothing(ledger: Ledger) -> None:
    first = ledger.publish_policies({"orders": {"rules": []}}, by="t")
    assert ledger.publish_policies({"orders": {"rules": []}}, by="t").number == first.number


def test_an_erased_subject_is_gone_for_every_reader_and_null_keys_stay(ledger: Ledger, other: Ledger) -> None:
    assert other.tombstones().entries == ()
    ledger.bury(Tombstone("orders", "orders", "customer_id", ("7",)), by="t")
    kept = other.tombstones().excluding(product("customer_id"), "orders")
    assert evaluate(kept, {"customer_id": 7}) is False
    assert evaluate(kept, {"customer_id": 8}) is True
    assert evaluate(kept, {"customer_id": None}) is True
    assert other.tombstones().excluding(product("id"), "returns") == TRUE


def test_data_sealed_without_the_erased_column_is_not_shown(ledger: Ledger) -> None:
    ledger.bury(Tombstone("orders", "orders", "customer_id", ("7",)), by="t")
    assert ledger.tombstones().excluding(product("id"), "orders") == FALSE


def test_what_one_server_publishes_the_other_reads_at_once(ledger: Ledger, other: Ledger) -> None:
    for turn in range(3):
        publish(ledger, "orders", f"g{turn}")
        assert other.edition() == ledger.edition()
        ledger.publish_policies({"orders": {"rules": [turn]}}, by="t")
        assert other.policies() == ledger.policies()


def test_one_of_many_who_publish_at_once_wins_and_the_others_are_told(place: Place, ledger: Ledger) -> None:
    base, won, told = ledger.edition(), [], []
    start = threading.Barrier(6)

    def publish_one(name: str) -> None:
        with closing(place.open()) as own:
            own.latest_edition_number()
            start.wait(10)
            try:
                won.append(own.publish(base, {"orders": name}, action="publish", by=name).products["orders"])
            except EditionConflict:
                told.append(name)

    threads = [threading.Thread(target=publish_one, args=(f"g{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(told)) == (1, 5)
    assert ledger.edition().products == {"orders": won[0]}


def test_entries_hold_the_same_text_whatever_holds_the_ledger(place: Place, ledger: Ledger) -> None:
    ledger.publish_policies({"bücher": {"rules": [{"name": "✓", "of": None}]}}, by="tä")
    assert ledger.policies().documents == {"bücher": {"rules": [{"name": "✓", "of": None}]}}
    assert ledger.policies().by == "tä"


def test_waiting_ends_when_the_time_is_over(ledger: Ledger) -> None:
    ledger.wait(0.01)
    started = time.monotonic()
    ledger.wait(0.05)
    assert 0.04 < time.monotonic() - started < 2.0


def test_certificates_are_read_by_everybody_and_the_newest_word_on_a_content_counts(place: Place) -> None:
    with closing(place.open()) as ledger, closing(place.open()) as other:
        assert other.certificates().entries == ()
        first = ledger.certify(Certificate("orders", "revenue", "ab", "Mara", note="as reported"))
        assert first.at
        assert other.certificates().of("orders", "revenue", "ab") == first
        taken_back = other.certify(replace(first, withdrawn=True))
        assert ledger.certificates().of("orders", "revenue", "ab") == taken_back
        ledger.certify(Certificate("orders", "revenue", "cd", "Kim"))
        newest = ledger.certificates()
        assert newest.number == 3
        last = newest.last_of("orders", "revenue")
        assert last is not None
        assert last.by == "Kim"
        assert newest.of("orders", "revenue", "xy") is None
        assert ledger.edition().number == 0
