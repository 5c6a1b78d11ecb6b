"""PostgreSQL that is down, restarted, frozen, locked or full: it is named, nothing hangs, and it mends by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from indexes.ledger import Ledger, Tombstone
from indexes.ledgers import open_ledger
from indexes.library import Library
from indexes.postgres.connection import READ_ONLY, Pool, connect
from indexes.postgres.cursors import snapshot
from indexes.postgres.records import PostgresRecords
from indexes.postgres.relation import Relation
from semantic_layer.errors import (
    CorruptGeneration,
    DeadlineExceeded,
    EditionConflict,
    EngineUnavailable,
    InvalidArgument,
    OutOfSpace,
    WellheadError,
)
from semantic_layer.predicate import Compare
from semantic_layer.product import Column, ColumnType, Dataset
from semantic_layer.settings import PostgresSettings
from tests.conftest import engine_missing
from tests.postgres_node import LOCKED, PASSWORD, PostgresNode, postgres_node

pytestmark = pytest.mark.postgres

NUMBERS = Dataset("numbers", "table", (Column("n", ColumnType.INTEGER, key_position=1),))
FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$
"""


@pytest.fixture(scope="module")
def node() -> Iterator[PostgresNode]:
    try:
        with postgres_node() as started:
            with connect(started.dsn) as owner:
                owner.execute("CREATE TABLE numbers AS SELECT n FROM generate_series(1, 20000) AS n")
                owner.execute(f"GRANT SELECT ON numbers TO {LOCKED}")  # pyright: ignore
                owner.execute(FULL)
            yield started
    except OSError as error:
        engine_missing("postgres", str(error))


@pytest.fixture
def pool(node: PostgresNode) -> Iterator[Pool]:
    with closing(Pool(node.dsn, options=READ_ONLY)) as opened:
        yield opened


@pytest.fixture
def ledger(node: PostgresNode, tmp_path: Path) -> Iterator[Ledger]:
    with closing(opened(node, tmp_path)) as ledger:
        yield ledger
    with connect(node.dsn) as owner:
        owner.execute("DROP SCHEMA IF EXISTS wellhead CASCADE")


def opened(node: PostgresNode, home: Path) -> Ledger:
    return open_ledger(home, "postgres", PostgresSettings(node.dsn), {})


def look_up(pool: Pool, seconds: float = 10.0) -> list[int]:
    records = PostgresRecords(pool, "public", NUMBERS)
    return [row["n"] for row in records.fetch(NUMBERS.columns, Compare("n", "eq", 7), (), 5, seconds)]


def publish(ledger: Ledger, generation: str = "g") -> int:
    return ledger.publish(ledger.edition(), {"orders": generation}, action="test", by="test").number


def seconds_of(work: Callable[[], object], kind: type[WellheadError]) -> tuple[float, WellheadError]:
    started = time.monotonic()
    with pytest.raises(kind) as failure:
        work()
    return time.monotonic() - started, failure.value


def test_a_restart_between_two_lookups_is_no_failure(node: PostgresNode, pool: Pool) -> None:
    assert look_up(pool) == [7]
    node.restart()
    assert look_up(pool) == [7]


def test_a_lookup_while_the_server_is_down_names_it_in_time_and_works_once_it_is_back(
    node: PostgresNode, pool: Pool
) -> None:
    assert look_up(pool) == [7]
    with node.down():
        took, failure = seconds_of(lambda: look_up(pool, 1.0), EngineUnavailable)
        assert "PostgreSQL (postgres at " in failure.message
        assert took < 4.0
    assert look_up(pool) == [7]


def test_a_server_that_stands_still_holds_no_lookup_past_its_deadline(node: PostgresNode, pool: Pool) -> None:
    assert look_up(pool) == [7]
    with node.frozen():
        took, _ = seconds_of(lambda: look_up(pool, 0.2), DeadlineExceeded)
        assert took < 2.5
    assert look_up(pool) == [7]


def test_a_wrong_password_is_said_without_showing_it(node: PostgresNode) -> None:
    with closing(Pool(node.dsn_of(LOCKED, PASSWORD))) as right:
        assert look_up(right) == [7]
    with closing(Pool(node.dsn_of(LOCKED, "open barley"))) as wrong:
        _, failure = seconds_of(lambda: look_up(wrong), EngineUnavailable)
    assert "lets nobody in" in failure.message
    assert "barley" not in str(failure)


def test_a_server_that_takes_no_more_connections_is_named_and_works_when_it_does(node: PostgresNode) -> None:
    dsn = node.dsn_of(LOCKED, PASSWORD)
    with connect(node.dsn, autocommit=True) as owner, closing(Pool(dsn)) as crowded:
        owner.execute(f"ALTER ROLE {LOCKED} CONNECTION LIMIT 0")  # pyright: ignore
        took, failure = seconds_of(lambda: look_up(crowded), EngineUnavailable)
        assert "takes no more connections: " in failure.message
        assert "max_connections" in failure.hint
        assert took < 4.0
        owner.execute(f"ALTER ROLE {LOCKED} CONNECTION LIMIT -1")  # pyright: ignore
        assert look_up(crowded) == [7]


def test_a_source_that_is_restarted_while_it_is_read_is_named(node: PostgresNode) -> None:
    with snapshot(node.dsn) as view:
        batches = view.rows(Relation("public", "numbers"), NUMBERS.columns)
        assert len(next(batches)) == 5_000
        node.restart()
        with pytest.raises(EngineUnavailable, match="PostgreSQL"):
            list(batches)


def test_a_source_slower_than_its_timeout_is_stopped_by_name(node: PostgresNode) -> None:
    slow = Relation("public", "slow", "SELECT 1 AS n, pg_sleep(20)")
    with snapshot(node.dsn, 0.2) as view:
        took, failure = seconds_of(lambda: list(view.rows(slow, NUMBERS.columns)), DeadlineExceeded)
    assert "query of 'slow'" in failure.message
    assert took < 2.0


def test_a_source_whose_disk_is_full_is_named(node: PostgresNode) -> None:
    with connect(node.dsn) as owner:
        owner.execute(
            "CREATE OR REPLACE FUNCTION spill() RETURNS int LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not write file' USING ERRCODE = 'disk_full'; END $$"
        )
    full = Relation("public", "full", "SELECT spill() AS n")
    with snapshot(node.dsn) as view:
        _, failure = seconds_of(lambda: list(view.rows(full, NUMBERS.columns)), OutOfSpace)
    assert "PostgreSQL (postgres at " in failure.message


def test_a_ledger_whose_disk_is_full_publishes_nothing_and_then_all(node: PostgresNode, ledger: Ledger) -> None:
    publish(ledger, "before")
    with connect(node.dsn) as owner:
        owner.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON wellhead.ledger FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
    seconds_of(lambda: publish(ledger), OutOfSpace)
    assert ledger.edition().products == {"orders": "before"}
    with connect(node.dsn) as owner:
        owner.execute("DROP TRIGGER full_disk ON wellhead.ledger")
    assert publish(ledger, "after") == 2


def test_a_ledger_that_is_restarted_under_its_publishers_loses_and_doubles_nothing(
    node: PostgresNode, ledger: Ledger, tmp_path: Path
) -> None:
    stop = threading.Event()
    known: list[int] = []

    def work() -> None:
        with closing(opened(node, tmp_path)) as own:
            while not stop.is_set():
                try:
                    known.append(publish(own, f"g{len(known)}"))
                except (EngineUnavailable, EditionConflict):
                    stop.wait(0.01)

    publish(ledger)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        node.restart()
        before = len(known)
        while len(known) < before + 3:
            stop.wait(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert sorted(set(known)) == sorted(known)
    assert [edition.number for edition in ledger.editions(10_000)] == list(range(max(known), 0, -1))


def test_a_server_whose_ledger_is_down_says_so_and_follows_it_again(
    node: PostgresNode, ledger: Ledger, tmp_path: Path
) -> None:
    ledger.publish(ledger.edition(), {}, action="test", by="test")
    library = Library(tmp_path, lambda identity: pytest.fail("no text, no model"), ledger=ledger)
    assert library.refresh()
    with node.down():
        assert not library.refresh()
        assert library.failure is not None
        assert library.failure.code == "engine_unavailable"
        with pytest.raises(EngineUnavailable, match="PostgreSQL"), library.pin():
            pass
    assert not library.refresh()
    assert library.failure is None
    with library.pin() as read:
        assert read.edition.number == 1
    library.close()


def test_one_who_waits_hears_of_an_edition_at_once_also_after_a_restart(
    node: PostgresNode, ledger: Ledger, tmp_path: Path
) -> None:
    publish(ledger)
    ledger.wait(5.0)  # begins to listen
    with closing(opened(node, tmp_path)) as publisher:
        for restarted in (False, True):
            if restarted:
                node.restart()
                ledger.wait(0.1)  # finds out, and connects with the next
                ledger.wait(5.0)
            timer = threading.Timer(0.2, publish, (publisher,))
            timer.start()
            started = time.monotonic()
            ledger.wait(30.0)
            assert time.monotonic() - started < 5.0
            timer.join()


def test_a_ledger_that_was_lost_is_named_and_never_begun_anew(
    node: PostgresNode, ledger: Ledger, tmp_path: Path
) -> None:
    publish(ledger)
    with connect(node.dsn) as owner:
        owner.execute("TRUNCATE wellhead.ledger")
    with pytest.raises(CorruptGeneration, match="ended at 1 and now at 0"):
        ledger.edition()
    with connect(node.dsn) as owner:
        owner.execute("DROP SCHEMA wellhead CASCADE")
    with closing(opened(node, tmp_path)) as restarted:
        with pytest.raises(CorruptGeneration, match="has lost the ledger"):
            restarted.edition()
        with pytest.raises(CorruptGeneration, match="has lost the ledger"):
            publish(restarted)


def test_the_first_publish_takes_over_what_the_files_hold_and_the_files_are_the_past(
    node: PostgresNode, ledger: Ledger, tmp_path: Path
) -> None:
    files = Ledger(tmp_path)
    publish(files, "a")
    files.publish_policies({"orders": {"rules": []}}, by="test")
    files.bury(Tombstone("orders", "orders", "email", ("a@example.com",)), by="test")
    assert ledger.edition().number == 0
    ledger.publish_policies({"orders": {"rules": ["open"]}}, by="test")
    assert [edition.products for edition in ledger.editions()] == [{"orders": "a"}]
    assert ledger.policies().number == 2
    assert len(ledger.tombstones().entries) == 1
    with pytest.raises(InvalidArgument, match="was moved to PostgreSQL"):
        Ledger(tmp_path)


def test_a_role_that_may_only_add_and_read_is_enough_for_a_server(
    node: PostgresNode, ledger: Ledger, tmp_path: Path
) -> None:
    publish(ledger)
    with connect(node.dsn) as owner:
        owner.execute(f"GRANT USAGE ON SCHEMA wellhead TO {LOCKED}")  # pyright: ignore
        owner.execute(f"GRANT SELECT, INSERT ON wellhead.ledger TO {LOCKED}")  # pyright: ignore
    narrow = PostgresSettings(node.dsn_of(LOCKED, PASSWORD))
    with closing(open_ledger(tmp_path, "postgres", narrow, {})) as own:
        assert publish(own, "b") == 2
    with connect(node.dsn) as owner:
        owner.execute(f"REVOKE INSERT ON wellhead.ledger FROM {LOCKED}")  # pyright: ignore
    with closing(open_ledger(tmp_path, "postgres", narrow, {})) as own:
        assert own.edition().products == {"orders": "b"}
        with pytest.raises(EngineUnavailable, match="permission denied"):
            publish(own)


def test_a_variable_that_the_ledgers_dsn_names_must_be_set(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="`ledger: postgres` needs the environment variable"):
        open_ledger(tmp_path, "postgres", PostgresSettings(), {})
