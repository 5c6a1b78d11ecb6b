"""Tables of a PostgreSQL server become a sealed generation from one moment, and live records beside it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from indexes.generation import generation_folder, read_manifest
from indexes.ledger import Ledger
from indexes.library import Library
from indexes.lookup import RecordQuestion, lookup
from indexes.postgres.connection import connect
from indexes.postgres.live import LiveRecords
from indexes.postgres.load import load_tables
from ingest.products import Outcome, ingest_all
from ingest.progress import Silent
from ingest.report import RunReport
from ingest.settings import IngestSettings
from semantic_layer.errors import EngineUnavailable, SourceFailed
from semantic_layer.policy import Action
from semantic_layer.predicate import TRUE
from semantic_layer.principal import Principal
from semantic_layer.workspace import load_workspace

pytestmark = pytest.mark.postgres

SCHEMA = (
    "CREATE TABLE orders (id text PRIMARY KEY, region text, total numeric(8, 2), email text, placed timestamptz);"
)
ROWS: list[tuple[Any, ...]] = [
    ("o1", "EU", Decimal("19.90"), "ann@example.com", datetime(2025, 3, 1, 12, tzinfo=UTC)),
    ("o2", "US", Decimal("5.00"), "bob@example.com", datetime(2025, 3, 2, 12, tzinfo=UTC)),
]
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop-orders
version: 1.0.0
status: active
servers:
  - server: db
    type: postgres
    schema: public
    customProperties: [{property: wellhead, value: {dsn: "${SHOP_DSN}"}}]
slaProperties: [{property: latency, value: 1, unit: d, element: orders.placed}]
schema:
  - name: orders
    physicalType: table
    customProperties: [{property: wellhead, value: {live: true}}]
    properties:
      - {name: id, logicalType: string, physicalType: text, primaryKey: true, primaryKeyPosition: 1}
      - {name: region, logicalType: string, physicalType: text}
      - {name: total, logicalType: number, physicalType: "numeric(8,2)"}
      - {name: email, logicalType: string, physicalType: text, classification: personal}
      - {name: placed, logicalType: timestamp, physicalType: timestamptz}
"""
POLICY = """
version: 1
rules:
  - name: own-regions
    roles: [analyst]
    actions: [discover, lookup]
    columns: {except: [email]}
    mask: {email: last4}
    rows: {field: region, op: in, value: {principal: regions}}
"""
ANALYST = Principal("ann", frozenset({"analyst"}), {"regions": ("EU",)})


class Shop:
    """A workspace whose only product lives in PostgreSQL."""

    def __init__(self, root: Path, dsn: str) -> None:
        self.root, self.dsn, self.home = root, dsn, root / ".wellhead"
        product = root / "products" / "orders"
        product.mkdir(parents=True)
        (root / "wellhead.yaml").write_text("version: 1\nname: shop\n")
        (product / "contract.yaml").write_text(CONTRACT)
        (product / "policy.yaml").write_text(POLICY)
        load_tables(dsn, SCHEMA, [("orders", ("id", "region", "total", "email", "placed"), ROWS)])

    def outcome(self) -> Outcome:
        settings = IngestSettings({**os.environ, "SHOP_DSN": self.dsn}, "cpu")
        [(_, outcome)] = ingest_all(load_workspace(self.root), (), settings, by="test", progress=Silent())
        return outcome

    def ingest(self) -> RunReport:
        outcome = self.outcome()
        assert isinstance(outcome, RunReport), outcome
        return outcome

    def sql(self, statement: str) -> None:
        with connect(self.dsn) as connection:
            connection.execute(statement)  # pyright: ignore[reportArgumentType]

    def sealed(self) -> list[dict[str, Any]]:
        library = Library(self.home, lambda identity: pytest.fail("no text, no model"))
        with library.pin() as snapshot:
            rows = snapshot.generations["orders"].tables.rows("orders", ["id", "total", "placed"], TRUE, ("id",))
        library.close()
        return rows

    def looked_up(self, key: Any = None) -> list[dict[str, Any]]:
        library = Library(self.home, lambda identity: pytest.fail("no text, no model"))
        live = LiveRecords({"SHOP_DSN": self.dsn})
        try:
            with library.pin() as snapshot:
                grants = {"orders": snapshot.grant(ANALYST, "orders", Action.LOOKUP)}
                asked = RecordQuestion("orders", "orders", key=key)
                return [
                    dict(r) for r in lookup(snapshot, asked, grants, deadline_seconds=5, open_live=live.open).rows
                ]
        finally:
            live.close()
            library.close()


@pytest.fixture
def shop(tmp_path: Path, postgres_dsn: str) -> Shop:
    return Shop(tmp_path / "shop", postgres_dsn)


def test_a_table_is_sealed_exactly_and_its_service_level_gives_the_watermark(shop: Shop) -> None:
    report = shop.ingest()
    assert report.counts["rows"] == 2
    assert report.watermark == "2025-03-02T12:00:00+00:00"
    assert shop.sealed() == [
        {"id": "o1", "total": Decimal("19.90"), "placed": ROWS[0][4]},
        {"id": "o2", "total": Decimal("5.00"), "placed": ROWS[1][4]},
    ]


def test_rows_that_did_not_change_build_nothing_whatever_their_order(shop: Shop) -> None:
    first = shop.ingest()
    shop.sql("UPDATE orders SET region = region")
    assert shop.ingest().state == "unchanged"
    shop.sql("UPDATE orders SET total = total + 1 WHERE id = 'o2'")
    second = shop.ingest()
    assert second.state == "published"
    assert second.generation != first.generation


def test_no_data_of_a_table_stands_in_the_manifest(shop: Shop) -> None:
    report = shop.ingest()
    manifest = read_manifest(generation_folder(shop.home, "orders", report.generation))
    assert "db:public.orders" in {one.name for one in manifest.inputs}
    assert "example.com" not in str(manifest)
    assert shop.dsn not in str(manifest)


def test_a_live_lookup_sees_what_changed_since_the_ingest_and_only_the_callers_rows(shop: Shop) -> None:
    shop.ingest()
    shop.sql("UPDATE orders SET total = 7.25 WHERE id = 'o1'")
    shop.sql("INSERT INTO orders VALUES ('o3', 'US', 1, 'cid@example.com', now())")
    [row] = shop.looked_up()
    assert (row["id"], row["total"], row["email"]) == ("o1", Decimal("7.25"), "•••.com")
    assert shop.looked_up("o3") == []


def test_a_column_that_changed_its_type_is_named_and_the_live_generation_stays(shop: Shop) -> None:
    shop.ingest()
    live = Ledger(shop.home).edition()
    shop.sql("ALTER TABLE orders ALTER COLUMN total TYPE text")
    outcome = shop.outcome()
    assert isinstance(outcome, SourceFailed)
    assert "'total' is text and the contract says decimal" in outcome.message
    assert Ledger(shop.home).edition() == live


def test_a_server_that_is_down_is_named_and_the_live_generation_stays(shop: Shop, tmp_path: Path) -> None:
    shop.ingest()
    live = Ledger(shop.home).edition()
    shop.dsn = f"postgresql://me:secret@/shop?host={tmp_path}"
    outcome = shop.outcome()
    assert isinstance(outcome, EngineUnavailable)
    assert f"shop at {tmp_path}" in outcome.message
    assert "secret" not in str(outcome)
    assert Ledger(shop.home).edition() == live
