"""An ingest with a cursor reads what changed and nothing else; a query stands for a table; drift is named."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes.postgres.cursors import Snapshot
from semantic_layer.errors import InvalidWorkspace, SourceFailed
from tests.postgres_shop import CONTRACT, Shop

pytestmark = pytest.mark.postgres

WITH_CURSOR = CONTRACT.replace("{live: true}", "{live: true, cursor: placed}").replace(
    "physicalType: timestamptz}", "physicalType: timestamptz, required: true}"
)
WITH_QUERY = CONTRACT.replace(
    "value: {live: true}",
    """value: {live: true, query: "SELECT *, '100%' AS share FROM orders WHERE total > 1 -- all but gifts"}""",
)


class Read:
    """How many whole rows an ingest read, by hand and by key."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = 0
        by_scan, by_key = Snapshot.rows, Snapshot.rows_of

        def scanned(view: Snapshot, relation: Any, columns: Any) -> Iterator[list[tuple[Any, ...]]]:
            for batch in by_scan(view, relation, columns):
                self.rows += len(batch) if len(columns) > 2 else 0
                yield batch

        def fetched(view: Snapshot, *asked: Any) -> list[tuple[Any, ...]]:
            found = by_key(view, *asked)
            self.rows += len(found)
            return found

        monkeypatch.setattr(Snapshot, "rows", scanned)
        monkeypatch.setattr(Snapshot, "rows_of", fetched)

    def since(self) -> int:
        counted, self.rows = self.rows, 0
        return counted


@pytest.fixture
def shop(tmp_path: Path, postgres_dsn: str) -> Shop:
    return Shop(tmp_path / "shop", postgres_dsn, WITH_CURSOR)


def test_only_rows_whose_cursor_moved_are_read_again_and_deleted_ones_are_gone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Read(monkeypatch)
    shop.sql("INSERT INTO orders SELECT 'x' || n, 'EU', n, NULL, now() FROM generate_series(1, 50) AS n")
    shop.ingest()
    assert read.since() == 52
    shop.sql("DELETE FROM orders WHERE id = 'o1'")
    shop.sql("UPDATE orders SET total = 7.25, placed = placed + interval '1 second' WHERE id IN ('o2', 'x3')")
    shop.sql("INSERT INTO orders VALUES ('o3', 'EU', 3, NULL, '2001-01-01')")
    assert shop.ingest().state == "published"
    assert read.since() == 3
    sealed = {row["id"]: row["total"] for row in shop.sealed()}
    assert len(sealed) == 52
    assert "o1" not in sealed
    assert (sealed["o2"], sealed["x3"], sealed["o3"], sealed["x4"]) == (Decimal("7.25"), Decimal("7.25"), 3, 4)


def test_nothing_is_built_while_no_cursor_moves(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.ingest()
    read = Read(monkeypatch)
    assert shop.ingest().state == "unchanged"
    assert read.since() == 0


def test_a_forced_ingest_reads_rows_whose_cursor_did_not_move_and_stays(shop: Shop) -> None:
    shop.ingest()
    shop.sql("UPDATE orders SET total = 99 WHERE id = 'o1'")
    assert shop.ingest().state == "unchanged"
    forced = shop.ingest(force=True)
    assert forced.state == "published"
    assert shop.sealed()[0]["total"] == Decimal(99)
    again = shop.ingest()
    assert (again.state, again.generation) == ("unchanged", forced.generation)


def test_another_contract_reads_every_row_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.ingest()
    contract = shop.root / "products/orders/contract.yaml"
    contract.write_text(contract.read_text().replace("numeric(8,2)", "numeric(10,2)"))
    read = Read(monkeypatch)
    shop.sql("UPDATE orders SET placed = now() WHERE id = 'o1'")
    shop.ingest()
    assert read.since() == 2


def test_a_key_that_does_not_name_each_row_once_stops_the_ingest_by_name(
    tmp_path: Path, postgres_dsn: str
) -> None:
    query = "SELECT region AS id, region, total, email, placed FROM orders"
    doubled = WITH_CURSOR.replace("cursor: placed", f'cursor: placed, query: "{query}"')
    shop = Shop(tmp_path / "shop", postgres_dsn, doubled)
    shop.ingest()
    shop.sql(
        "INSERT INTO orders VALUES ('o3', 'EU', 3, NULL, '2025-03-01 12:00+00'), ('o4', 'EU', 3, NULL, now())"
    )
    live = shop.live
    outcome = shop.outcome()
    assert isinstance(outcome, SourceFailed)
    assert "the key of 'orders' does not name each row once" in outcome.message
    assert shop.live == live


CHANGES = st.lists(
    st.tuples(st.sampled_from(["put", "touch", "delete"]), st.integers(0, 6), st.integers(0, 99)), max_size=8
)


@given(rounds=st.lists(CHANGES, min_size=1, max_size=3))
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_changed_the_sealed_rows_are_those_of_the_table(
    rounds: list[list[tuple[str, int, int]]], tmp_path_factory: pytest.TempPathFactory, postgres_dsn: str
) -> None:
    shop = Shop(tmp_path_factory.mktemp("changes") / "shop", postgres_dsn, WITH_CURSOR)
    shop.ingest()
    moment = 0
    for changes in rounds:
        for kind, number, total in changes:
            moment += 1
            at = f"timestamptz '2025-01-01' + interval '{moment} seconds'"
            key = f"o{number}"
            shop.sql(
                {
                    "put": f"INSERT INTO orders VALUES ('{key}', 'EU', {total}, NULL, {at}) "
                    f"ON CONFLICT (id) DO UPDATE SET total = {total}, placed = {at}",
                    "touch": f"UPDATE orders SET placed = {at} WHERE id = '{key}'",
                    "delete": f"DELETE FROM orders WHERE id = '{key}'",
                }[kind]
            )
        shop.ingest()
        whole = {row["id"]: (row["total"], row["placed"]) for row in shop.sealed()}
        shop.ingest(force=True)
        assert {row["id"]: (row["total"], row["placed"]) for row in shop.sealed()} == whole


def test_a_query_stands_for_a_table_when_sealed_and_when_looked_up_live(tmp_path: Path, postgres_dsn: str) -> None:
    shop = Shop(tmp_path / "shop", postgres_dsn, WITH_QUERY)
    shop.sql("INSERT INTO orders VALUES ('gift', 'EU', 0, NULL, now())")
    report = shop.ingest()
    assert [row["id"] for row in shop.sealed()] == ["o1", "o2"]
    assert any("column 'share' is not in the contract" in warning for warning in report.warnings)
    assert [row["id"] for row in shop.looked_up()] == ["o1"]
    assert shop.looked_up("gift") == []


@pytest.mark.parametrize(
    "query",
    ["DELETE FROM orders RETURNING *", "SELECT 1) AS x; DROP TABLE orders; SELECT (1", "SELECT id FROM nowhere"],
)
def test_a_query_that_is_not_one_select_changes_nothing_and_is_named(
    tmp_path: Path, postgres_dsn: str, query: str
) -> None:
    contract = WITH_QUERY.replace(WITH_QUERY.split('query: "')[1].split('"')[0], query)
    shop = Shop(tmp_path / "shop", postgres_dsn, contract)
    outcome = shop.outcome()
    assert isinstance(outcome, SourceFailed)
    assert "query of 'orders'" in outcome.message
    shop.sql("SELECT 1 / (count(*) = 2)::int FROM orders")


def test_rows_that_a_row_level_policy_hides_are_an_error_and_never_left_out(shop: Shop, postgres_dsn: str) -> None:
    shop.ingest()
    shop.sql(
        "DROP ROLE IF EXISTS hidden_reader; CREATE ROLE hidden_reader; GRANT SELECT ON orders TO hidden_reader;"
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY eu ON orders TO hidden_reader USING (region = 'EU')"
    )
    contract = shop.root / "products/orders/contract.yaml"
    contract.write_text(
        contract.read_text().replace('dsn: "${SHOP_DSN}"', 'dsn: "${SHOP_DSN}", role: hidden_reader')
    )
    outcome = shop.outcome()
    shop.sql("DROP OWNED BY hidden_reader; DROP ROLE hidden_reader")
    assert isinstance(outcome, SourceFailed)
    assert "row-level security" in outcome.message


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        ("{cursor: plced}", "no column 'plced'"),
        ("{cursor: placed}", "a cursor that is NULL tells of no change"),
    ],
)
def test_a_cursor_that_cannot_tell_of_changes_is_a_mistake_of_the_contract(
    tmp_path: Path, postgres_dsn: str, hint: str, said: str
) -> None:
    shop = Shop(tmp_path / "shop", postgres_dsn, CONTRACT.replace("{live: true}", hint))
    with pytest.raises(InvalidWorkspace) as mistakes:
        shop.ingest()
    assert said in mistakes.value.message
